"""Changes to the networks' arithmetic, each of which a test must find: ``make mutations``.

Each is made in a copy of the package, and the tests of figures, plain networks and initial weights are run
there for the networks concerned. All must fail; the command lists those that do not, and exits with 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
TESTS = ["test_forward_passes.py", "test_plain_networks.py", "test_initial_weights.py"]


class Mutation(NamedTuple):
    """A text that occurs once in a module of ``geoseg/models/networks``, and what replaces it."""

    module: str
    old: str
    new: str
    select: str  # pytest's -k: of which networks the tests are run
    says: str


RELU3 = "expanded: Tensor = self.relu(torch.cat([self.expand1(squeezed), self.expand3(squeezed)], 1))"
MUTATIONS = [
    # Those that sizes, operations and receptive fields did not see.
    Mutation(
        "micronet",
        "_THREE, (1, 1, 2, 3), (3, 2, 1)",
        "_THREE, (3, 2, 1, 1), (3, 2, 1)",
        "micronet",
        "order of dilations",
    ),
    Mutation(
        "micronet",
        "self.relu(self.squeeze(pixels))",
        "self.squeeze(pixels)",
        "micronet",
        "no ReLU after the squeeze",
    ),
    Mutation(
        "network",
        'kaiming_normal_(module.weight, nonlinearity="relu")',
        "xavier_normal_(module.weight)",
        "micronet",
        "Glorot's weights",
    ),
    Mutation(
        "mininet",
        "self.norm(total if residual is None else total + residual)",
        "(self.norm(total) if residual is None else self.norm(total) + residual)",
        "mininet",
        "normalization before the short residual",
    ),
    # Micro-Net
    Mutation(
        "micronet",
        '(3, 2, 1)), _SOURCE),\n    "micronet-unet',
        '(1, 2, 3)), _SOURCE),\n    "micronet-unet',
        "micronet",
        "order of dilations on the way up",
    ),
    Mutation(
        "micronet", RELU3, RELU3.replace("self.relu(", "(", 1), "micronet", "no ReLU after the expansion"
    ),
    Mutation(
        "micronet",
        "[self.expand1(squeezed), self.expand3(squeezed)]",
        "[self.expand3(squeezed), self.expand1(squeezed)]",
        "micronet",
        "order of the expansions",
    ),
    Mutation("micronet", "raised + skip if", "raised if", "micronet", "no skip"),
    Mutation(
        "micronet",
        "torch.cat([raised, skip], 1)",
        "torch.cat([skip, raised], 1)",
        "micronet",
        "order of the concatenation",
    ),
    Mutation(
        "micronet",
        "nn.MaxPool2d(2, ceil_mode=True)",
        "nn.AvgPool2d(2, ceil_mode=True)",
        "micronet",
        "average for maximum",
    ),
    Mutation(
        "micronet", "nn.MaxPool2d(2, ceil_mode=True)", "nn.MaxPool2d(2)", "micronet", "pool rounding down"
    ),
    Mutation(
        "micronet", "[..., :height, :width]", "[..., -height:, -width:]", "micronet", "crop at the other side"
    ),
    Mutation(
        "micronet",
        "logits: Tensor = self.head(features)",
        "logits: Tensor = self.head(features.relu() + 1)",
        "micronet",
        "another head",
    ),
    Mutation(
        "micronet",
        "tuple(level[::-1] for level in _ROW_FIVE)",
        "_ROW_FIVE",
        "micronet-125",
        "order of dilations of row 5",
    ),
    Mutation(
        "micronet",
        "dilation=dilation, bias=False)\n        self.relu",
        'dilation=dilation, bias=False, padding_mode="replicate")\n        self.relu',
        "micronet",
        "replicated borders",
    ),
    # Faster UNet
    Mutation(
        "fasterunet",
        "[conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]",
        "[conv, nn.ReLU(inplace=True), nn.BatchNorm2d(outputs)]",
        "unet",
        "ReLU before the normalization",
    ),
    Mutation(
        "fasterunet",
        "torch.cat([raised, skip], 1)",
        "torch.cat([skip, raised], 1)",
        "unet",
        "order of the concatenation",
    ),
    Mutation(
        "fasterunet",
        "return skip, self.pool(skip)",
        "return features.new_zeros(()) + skip, self.pool(-skip)",
        "unet",
        "minimum for maximum",
    ),
    Mutation(
        "fasterunet",
        "nn.Conv2d(inputs, outputs, 3, padding=1)",
        'nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")',
        "unet",
        "mirrored borders",
    ),
    Mutation(
        "fasterunet",
        "nn.BatchNorm2d(outputs)",
        "nn.BatchNorm2d(outputs, eps=1e-3)",
        "unet",
        "epsilon of the normalization",
    ),
    Mutation(
        "fasterunet",
        "raised = self.up(features)[",
        "raised = self.up(features).relu()[",
        "unet",
        "ReLU after the transposed convolution",
    ),
    # MiniNet
    Mutation(
        "mininet",
        "self.norm(self.inner(self.conv(first)) + last)",
        "self.inner(self.norm(self.conv(first)) + last)",
        "mininet",
        "normalizations of the long residual exchanged",
    ),
    Mutation(
        "mininet",
        "self.norm(self.inner(self.conv(first)) + last)",
        "self.norm(self.inner(self.conv(last)) + last)",
        "mininet",
        "long residual from the last block",
    ),
    Mutation(
        "mininet",
        "torch.cat([self.pool(features), branch], 1)",
        "torch.cat([branch, self.pool(features)], 1)",
        "mininet",
        "order of pool and convolution",
    ),
    Mutation(
        "mininet",
        "total = total + branch(squeezed)",
        "total = total + branch(total)",
        "mininet",
        "branches in a row",
    ),
    Mutation(
        "mininet",
        "padding=2**k, dilation=2**k",
        "padding=2 ** (branches - 1 - k), dilation=2 ** (branches - 1 - k)",
        "mininet",
        "order of the rates",
    ),
    Mutation(
        "mininet",
        'mode="bilinear", align_corners=False',
        'mode="bilinear", align_corners=True',
        "mininet",
        "corners aligned",
    ),
    Mutation("mininet", 'mode="bilinear", align_corners=False', 'mode="nearest"', "mininet", "nearest pixel"),
    Mutation(
        "mininet",
        "self.activation(lateral + self.top(raised))",
        "self.activation(lateral) + self.top(raised)",
        "mininet",
        "activation before the sum",
    ),
    Mutation("mininet", "features if self.short else None", "None", "mininet", "no short residual"),
    Mutation("mininet", "nn.PReLU(channels) if", "nn.LeakyReLU(0.25) if", "mininet", "one fixed slope"),
    Mutation(
        "mininet",
        "self.top(raised))",
        "upsample(self.top(deeper), lateral.shape[-2:]))",
        "mininet",
        "upsampling after the pyramid",
    ),
    Mutation(
        "mininet",
        "self.auxiliary, decoded[1:]",
        "self.auxiliary, [decoded[0], *decoded[2:]]",
        "training",
        "inner head on another level",
    ),
    Mutation(
        "mininet",
        "nn.Conv2d(inputs, width, 3, 2, 1, bias=False)",
        'nn.Conv2d(inputs, width, 3, 2, 1, bias=False, padding_mode="circular")',
        "mininet",
        "borders from the other side",
    ),
    # Dual ASPP and its encoders
    Mutation(
        "dualaspp",
        "_DEEP_RATES = (6, 12, 18)",
        "_DEEP_RATES = (18, 12, 6)",
        "mobilenet",
        "order of the rates",
    ),
    Mutation(
        "dualaspp", "_EIGHTH_RATES = (12, 24, 36)", "_EIGHTH_RATES = (6, 12, 18)", "mobilenet", "rates at 1/8"
    ),
    Mutation(
        "dualaspp",
        "torch.cat([deep, skip], 1)",
        "torch.cat([skip, deep], 1)",
        "mobilenet",
        "order of the concatenation",
    ),
    Mutation(
        "dualaspp",
        "torch.cat([*parts, *skips], 1)",
        "torch.cat([*skips, *parts], 1)",
        "mobilenet",
        "order of the skip",
    ),
    Mutation("dualaspp", "nn.Dropout2d(_DROPOUT)", "nn.Dropout(_DROPOUT)", "aspp", "dropout of pixels"),
    Mutation(
        "dualaspp", "nn.Dropout2d(_DROPOUT)", "nn.FeatureAlphaDropout(_DROPOUT)", "aspp", "another dropout"
    ),
    Mutation(
        "dualaspp",
        "output: Tensor = self.join(",
        "self.join[1].train()\n        output: Tensor = self.join(",
        "aspp or mobilenet",
        "dropout outside of training",
    ),
    Mutation(
        "dualaspp",
        "nn.AdaptiveAvgPool2d(1), conv_norm",
        "nn.AdaptiveMaxPool2d(1), conv_norm",
        "mobilenet",
        "maximum for image pooling",
    ),
    Mutation(
        "dualaspp",
        'mode="bilinear", align_corners=False',
        'mode="bicubic", align_corners=False',
        "mobilenet",
        "bicubic upsampling",
    ),
    Mutation(
        "dualaspp",
        "self.eighth(features.eighth)",
        "self.eighth(features.eighth.flip(-1)).flip(-1).roll(1, -1)",
        "mobilenet",
        "map at 1/8 moved by a pixel",
    ),
    Mutation(
        "encoders",
        "return features + output if self.shortcut else output",
        "return output",
        "mobilenetv2 or liteunet",
        "no shortcut",
    ),
    Mutation(
        "encoders",
        "dilation = 2 if k == 0 and held else 1",
        "dilation = 2 if held else 1",
        "mobilenetv2",
        "every block dilated",
    ),
    Mutation(
        "encoders",
        "conv_norm(width, outputs))\n        self.shortcut = stride",
        "conv_norm(width, outputs, activation=relu6))\n        self.shortcut = stride",
        "mobilenetv2",
        "activation after the projection",
    ),
    Mutation(
        "encoders", "return features * factor", "return features + factor", "mobilenetv3", "excitation added"
    ),
    Mutation("encoders", "activation=nn.Hardsigmoid", "activation=nn.Sigmoid", "mobilenetv3", "sigmoid"),
    Mutation(
        "encoders",
        "activation = nn.Hardswish if row.swish else relu",
        "activation = relu",
        "mobilenetv3",
        "ReLU for hard swish",
    ),
    Mutation(
        "encoders",
        "_LARGE[12]._replace(stride=2), _LARGE[13]._replace(stride=1)",
        "_LARGE[12]._replace(stride=1), _LARGE[13]._replace(stride=2)",
        "mobilenetv3-large",
        "last stride one block later",
    ),
    Mutation(
        "encoders",
        '("small", 16): _Plan(_SMALL, (1, 3, 6)',
        '("small", 16): _Plan(_SMALL, (1, 3, 5)',
        "mobilenetv3-small",
        "tap one block earlier",
    ),
    Mutation(
        "encoders",
        "self.activation(self.body(features) + self.shortcut(features))",
        "self.activation(self.body(features)) + self.shortcut(features)",
        "resnet101",
        "ReLU before the sum",
    ),
    Mutation(
        "encoders",
        "len(_RESNET_STAGES) - 1 and k else 1",
        "len(_RESNET_STAGES) - 1 else 1",
        "resnet101",
        "first block of the last stage dilated",
    ),
    Mutation(
        "encoders", "nn.MaxPool2d(3, 2, 1)", "nn.AvgPool2d(3, 2, 1)", "resnet101", "average for maximum"
    ),
    # Lite U-Net, SMP
    Mutation("liteunet", 'mode="nearest"', 'mode="bilinear"', "liteunet", "bilinear upsampling"),
    Mutation(
        "liteunet",
        "torch.cat([raised, skip], 1)",
        "torch.cat([skip, raised], 1)",
        "liteunet",
        "order of the concatenation",
    ),
    Mutation(
        "liteunet",
        "stride=2, activation=relu6)\n        self.stages",
        "stride=2, activation=relu)\n        self.stages",
        "liteunet",
        "ReLU for ReLU6",
    ),
    Mutation(
        "smp",
        "F.pad(pixels, (0, right, 0, bottom))",
        "F.pad(pixels, (right, 0, bottom, 0))",
        "smp",
        "padding at the other side",
    ),
    Mutation(
        "smp",
        "module.align_corners = align_corners",
        "module.align_corners = True",
        "deeplabv3plus",
        "corners aligned",
    ),
]


def copied(folder: Path) -> Path:
    """A copy of the package and of what its tests need, to be spoilt."""
    bundles = ROOT / "geoseg/bundles"
    shutil.copytree(
        ROOT / "geoseg", folder / "geoseg", ignore=shutil.ignore_patterns("bundles", "share", "__pycache__")
    )
    (folder / "geoseg/bundles").symlink_to(bundles)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "examples", folder / "examples")
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def found(mutation: Mutation) -> bool:
    """Whether a test fails of the mutation."""
    with tempfile.TemporaryDirectory() as folder:
        root = copied(Path(folder))
        path = root / "geoseg/models/networks" / f"{mutation.module}.py"
        path.write_text(mutated(path.read_text(encoding="utf-8"), mutation), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-k", mutation.select]
            + [f"tests/models/{name}" for name in TESTS],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in (0, 1):
        raise SystemExit(
            f"{mutation.module}, {mutation.says}: pytest says\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.returncode == 1


def mutated(text: str, mutation: Mutation) -> str:
    """A module's text with the mutation in it."""
    assert text.count(mutation.old) == 1, f"{mutation.module}: {mutation.says}: {mutation.old!r}"
    return text.replace(mutation.old, mutation.new)


if __name__ == "__main__":
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(zip(MUTATIONS, pool.map(found, MUTATIONS), strict=True))
    unseen = [f"{mutation.module}: {mutation.says}" for mutation, seen in results if not seen]
    sys.exit("no test fails of\n" + "\n".join(unseen) if unseen else 0)
