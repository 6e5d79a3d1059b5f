"""Every network's arithmetic: outputs of fixed weights for a fixed image, held to the tenth digit.

Sizes, operations and receptive fields do not see a dilation that changed places, a missing ReLU or a moved
normalization. These figures do, and so do the plain networks of ``test_plain_networks.py``. The 60 changes
that were tried, and found, are listed in ``mutations.txt``; ``make mutations`` tries them again.

Weights and image are by formula (:mod:`support.formula_weights`) and all is float64, so that the instructions
and the torch of a machine do not matter. ``python tests/models/test_forward_passes.py`` writes the figures
again, after a change that is meant.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import mutations
import pytest
import torch
from torch import Tensor

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
from support.formula_weights import fill, picture

from geoseg.models.networks.dualaspp import ASPP
from geoseg.models.networks.registry import ARCHITECTURES, build

pytestmark = pytest.mark.slow

FIGURES = Path(__file__).with_name("forward_passes.json")
"""Of each case: mean and standard deviation of all logits, then the logits at six places."""

# Rows are few and odd, columns enough that the widest dilation has pixels on either side at its stride.
NARROW, WIDE, WIDEST = (45, 165), (45, 333), (45, 621)
SLIM_UNET = {"widths": (8, 12, 16, 20, 24)}

CASES: dict[str, tuple[str, dict[str, Any], tuple[int, int]]] = {
    **{name: (name, {}, NARROW) for name in ARCHITECTURES},
    "micronet-unet": ("micronet-unet", SLIM_UNET, NARROW),
    "micronet-bm1": ("micronet-bm1", {"widths": (16, 24, 32, 40, 48)}, NARROW),
    "unet-base": ("unet-base", SLIM_UNET, NARROW),
    "unet-short": ("unet-short", {"widths": (12, 12, 16, 20)}, NARROW),
    "deeplabv3plus-resnet34": ("deeplabv3plus-resnet34", {}, WIDE),
    "resnet101 dl": ("resnet101", {"head": "dl"}, WIDE),
    **{
        f"mobilenet{kind} {head}": (f"mobilenet{kind}", {"head": head}, WIDEST if "da" in head else WIDE)
        for kind in ("v2", "v3-large", "v3-small")
        for head in ("none", "dl", "da", "da-skip")
    },
    "mininet-2 at 1/8": ("mininet-2", {"stride": 8}, NARROW),
    "mininet-2 conv": ("mininet-2", {"down": "conv"}, NARROW),
    "mininet-2 pool": ("mininet-2", {"down": "pool"}, NARROW),
    "mininet-2 pool at 1/8": ("mininet-2", {"down": "pool", "stride": 8}, NARROW),
    "mininet-2 without long": ("mininet-2", {"long": False}, NARROW),
    "mininet-2 without short": ("mininet-2", {"short": False}, NARROW),
    "mininet-2 without decoder": ("mininet-2", {"decoder": False}, NARROW),
    "mininet-2 ReLU": ("mininet-2", {"activation": "relu"}, NARROW),
    "mininet-2 wide": ("mininet-2", {"widths": (32, 96, 160, 192), "blocks": (1, 1, 1, 1)}, NARROW),
    "mininet-1 in training": ("mininet-1", {"auxiliary": True}, NARROW),
}
for _family in ("resnet101", "mobilenetv2", "mobilenetv3-large", "mobilenetv3-small"):
    del CASES[_family]  # listed by head


def logits_of(case: str) -> Tensor:
    """Float64 logits (classes, H, W) of a case; in training those of all heads, one after the other."""
    architecture, arguments, size = CASES[case]
    with torch.device("meta"):
        network = build(architecture, bands=3, classes=5, **arguments)
    fill(network)
    with torch.inference_mode():
        found = network.train(case.endswith("in training"))(picture(3, *size))
    return torch.cat(found if isinstance(found, tuple) else (found,), 1)[0]


def figures_of(logits: Tensor) -> list[float]:
    places = [logits.numel() * place // 7 for place in range(1, 7)]
    return [float(logits.mean()), float(logits.std()), *logits.flatten()[places].tolist()]


@pytest.mark.parametrize("case", CASES)
def test_fixed_weights_give_the_same_outputs(case: str) -> None:
    known = json.loads(FIGURES.read_text(encoding="utf-8"))[case]
    found = figures_of(logits_of(case))
    assert 0.05 < known[1] < 1e4, "alive"
    assert found == pytest.approx(known, rel=0, abs=1e-10 * known[1])


def test_every_network_has_figures() -> None:
    assert {architecture for architecture, _, _ in CASES.values()} == ARCHITECTURES.keys()
    assert json.loads(FIGURES.read_text(encoding="utf-8")).keys() == CASES.keys()


def test_the_listed_changes_can_still_be_made() -> None:
    changes = list(mutations.listed())
    assert len(changes) == 60
    for change in changes:
        text = (mutations.ROOT / mutations.NETWORKS / f"{change.module}.py").read_text(encoding="utf-8")
        assert change.made_in(text) != text


def test_aspp_drops_every_tenth_channel_as_a_whole_and_in_training_only() -> None:
    torch.manual_seed(0)
    pyramid, features = ASPP(4, 300, (1, 2, 3)), torch.randn(4, 4, 16, 16)
    with torch.inference_mode():
        kept = pyramid.train()(features).flatten(2).any(2)
        assert 0.07 < 1 - float(kept.double().mean()) < 0.13
        assert pyramid.eval()(features).flatten(2).any(2).double().mean() > 0.98


if __name__ == "__main__":
    lines = [f'"{case}": {json.dumps(figures_of(logits_of(case)))}' for case in CASES]
    FIGURES.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
