"""What every architecture of the registry must do: any size, bands and classes, learning, tiling, export."""

from __future__ import annotations

import inspect
from typing import Any, cast

import pytest
import torch
from support.gradients import support
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from geoseg.models.networks.network import Network
from geoseg.models.networks.registry import ARCHITECTURES, build

pytestmark = pytest.mark.slow

SMALL_SMP: dict[str, Any] = {
    "encoder": "resnet18",
    "options": {"decoder_channels": [16, 16, 8, 8, 8]},
}

# Left and right of the receptive field, by the networks' definitions. All others of the registry are global.
FIELDS: dict[str, tuple[int, int]] = {
    "micronet": (94, 94),
    "micronet-unet": (107, 107),
    "micronet-bm1": (107, 107),
    "micronet-bm2": (45, 45),
    "micronet-bm3": (87, 87),
    "micronet-125": (75, 75),
    "micronet-11123": (101, 101),
    "unet-base": (107, 107),
    "unet-short": (51, 51),
    "unet-skinny": (253, 253),
    "unet-less-conv": (265, 265),
    "mininet-1": (827, 812),
    "mininet-2": (1595, 1580),
    "liteunet": (215, 200),
    "unetpp-resnet34": (543, 512),
    "smp": (543, 512),
}
GLOBAL = sorted(ARCHITECTURES.keys() - FIELDS.keys())

# What arguments change in how far a network looks, besides the rows of MiniNet's table 2(g) and (h).
VARIANTS: list[tuple[str, dict[str, Any], tuple[int, int]]] = [
    ("mininet-2", {"stride": 8}, (939, 932)),
    ("mininet-2", {"down": "pool"}, (1567, 1566)),
    ("mininet-2", {"decoder": False}, (1560, 1545)),
    ("mininet-1", {"blocks": (1, 0, 2, 1), "down": "conv", "long": False}, (345, 330)),
    ("mobilenetv2", {"head": "none"}, (284, 269)),
    ("smp", {"encoder": "vgg11_bn"}, (217, 217)),
    ("smp", {"architecture": "linknet", "encoder": "mobilenet_v2"}, (307, 276)),
    ("smp", {"encoder": "tu-resnet18d"}, (313, 282)),
    ("smp", {"encoder": "inceptionv4", "options": {"encoder_depth": 5}}, (1129, 1098)),
]


@pytest.fixture(params=list(ARCHITECTURES))
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def slim(architecture: str) -> dict[str, Any]:
    """Arguments that make a network small where its own are large."""
    if architecture == "smp":
        return SMALL_SMP
    widths = inspect.signature(ARCHITECTURES[architecture].factory).parameters.get("widths")
    if widths is None or architecture.startswith("mininet"):
        return {}
    return {"widths": tuple(max(4, width // 16) for width in widths.default)}


def logits_of(network: Network, image: Tensor) -> Tensor:
    with torch.inference_mode():
        return cast("Tensor", network(image))


@pytest.mark.parametrize(
    ("bands", "classes", "size"), [(1, 2, (45, 61)), (4, 7, (17, 33)), (13, 3, (64, 96))]
)
def test_any_number_of_bands_and_classes_learns_at_any_size(
    architecture: str, bands: int, classes: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    network = build(architecture, bands=bands, classes=classes, **slim(architecture))
    assert (network.bands, network.classes, network.training) == (bands, classes, True)
    image = torch.randn(2, bands, *size)
    logits = cast("Tensor", network(image))
    assert logits.shape == (2, classes, *size)
    loss = F.cross_entropy(logits, torch.randint(classes, (2, *size)))
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{name} takes no part"
        assert parameter.grad.isfinite().all(), name
    assert logits_of(network.eval(), image).shape == logits.shape


def test_state_comes_back_and_a_pixel_alone_is_an_image(architecture: str) -> None:
    arguments = {"bands": 3, "classes": 4, **slim(architecture)}
    torch.manual_seed(0)
    network = build(architecture, **arguments)
    torch.manual_seed(0)
    same = build(architecture, **arguments).state_dict()
    assert all(torch.equal(same[key], value) for key, value in network.state_dict().items()), "seeded"
    with torch.no_grad():
        network(torch.randn(2, 3, 64, 64))  # normalizations see an image
    with torch.device("meta"):
        twin = build(architecture, **arguments)
    twin.load_state_dict(network.state_dict(), assign=True)
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(logits_of(network.eval(), image), logits_of(twin.eval(), image))
    assert logits_of(twin, image[..., :1, :1]).shape == (1, 4, 1, 1)


@pytest.mark.parametrize(
    ("architecture", "arguments", "field"), [(name, {}, field) for name, field in FIELDS.items()] + VARIANTS
)
def test_the_stated_radius_is_the_gradients_support(
    architecture: str, arguments: dict[str, Any], field: tuple[int, int]
) -> None:
    with torch.device("meta"):
        network = build(architecture, bands=1, classes=2, **arguments)
    assert network.receptive_field_radius == max(field)
    assert support(network, network.alignment, cast("int", network.receptive_field_radius)) == field


@pytest.mark.parametrize("architecture", GLOBAL)
def test_global_networks_say_so_and_depend_on_everything(architecture: str) -> None:
    torch.manual_seed(0)
    network = build(architecture, bands=3, classes=2, **slim(architecture)).eval()
    assert network.receptive_field_radius is None
    image = torch.rand(1, 3, 32, 1088)  # wider than any local part of them looks
    image.requires_grad_(requires_grad=True)
    cast("Tensor", network(image))[..., 0, 0].sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert cast("Tensor", image.grad)[..., -64:].abs().sum() > 0


@pytest.mark.parametrize("architecture", sorted(FIELDS.keys() - {"unetpp-resnet34"}))  # as smp, but large
def test_a_window_sees_what_the_whole_image_sees(architecture: str) -> None:
    torch.manual_seed(0)
    # Micro-Net has no normalization: with few channels all of its units may be dead.
    arguments = {} if architecture.startswith("micronet") else slim(architecture)
    network = build(architecture, bands=3, classes=2, **arguments).eval()
    step, radius = network.alignment, cast("int", network.receptive_field_radius)
    halo = -(-radius // step) * step
    image = torch.randn(1, 3, step, 2 * halo + 4 * step)
    whole = logits_of(network, image)[..., step + halo : 2 * step + halo]
    part = logits_of(network, image[..., step : 2 * step + 2 * halo])[..., halo : step + halo]
    assert float(whole.std()) > 0
    torch.testing.assert_close(part, whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


def test_the_network_can_be_exported(architecture: str) -> None:
    torch.manual_seed(0)
    network = build(architecture, bands=2, classes=3, **slim(architecture)).eval()
    image = torch.randn(1, 2, 64, 64)
    program = torch.export.export(network, (image,))
    with torch.inference_mode():
        torch.testing.assert_close(program.module()(image), network(image))
