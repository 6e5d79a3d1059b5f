"""Check a bundle against its contract: one check after the other, each with what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from geoseg.config.model.mlm import WEIGHTS_NAME
from geoseg.errors import BundleError, GeosegError
from geoseg.grid.tiling import align_up
from geoseg.io.weights import read_weights
from geoseg.models.agreement import check_graph_computes
from geoseg.models.bundle import Bundle, load_bundle
from geoseg.models.cost.memory import counted
from geoseg.models.networks.network import Network
from geoseg.models.networks.registry import traits
from geoseg.models.predictor import Predictor
from geoseg.models.runtime import intra_op_threads

__all__ = ["verify"]

_SIDE = 64  # least side of an image that is tried, in pixels
_FARTHEST = 4096
"""Largest radius that is measured, in pixels: beyond it, the strips that measuring takes become large."""
_ROUNDING = 1e-4  # share of the largest logit that another place in memory may change


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str  # such as ``weights``
    passed: bool
    message: str  # what was found, or what is wrong and what to do


def verify(name_or_path: str | Path) -> Iterator[Check]:
    """Look at a bundle; nothing is written.

    Checks that need something which another one found broken are left out.

    Yields:
        ``contract``, ``architecture``, ``weights``, ``fit``, ``forward``, ``odd sizes``, ``receptive field``,
        ``alignment``, and ``graph`` where there is one: each as soon as it is done.
    """
    bundles: list[Bundle] = []

    def contract() -> str:
        bundle = load_bundle(name_or_path)
        bundles.append(bundle)
        spec = bundle.spec
        border = " and their border" if spec.border else ""
        return f"{spec.name} {spec.version}: {len(spec.bands)} bands, {len(spec.classes)} classes{border}"

    yield (first := _looked("contract", contract))
    if not first.passed:
        return
    bundle = bundles[0]
    before = [
        _looked("architecture", lambda: _architecture(bundle)),
        _looked("weights", lambda: _weights(bundle)),
    ]
    yield from before
    if not all(check.passed for check in before):
        return
    yield (fit := _looked("fit", lambda: _fit(bundle)))
    if not fit.passed:
        return
    with intra_op_threads(1), torch.inference_mode():
        yield (forward := _looked("forward", lambda: _forward(bundle)))
        if forward.passed:
            yield _looked("odd sizes", lambda: _odd_sizes(bundle))
            yield _looked("receptive field", lambda: _receptive_field(bundle.network()))
            yield _looked("alignment", lambda: _alignment(bundle.network()))
            if bundle.spec.graph is not None:
                yield _looked("graph", lambda: _graph(bundle))


def _looked(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, passed=True, message=check())
    except GeosegError as error:
        return Check(name, passed=False, message=str(error))


def _architecture(bundle: Bundle) -> str:
    spec = bundle.spec
    found = traits(spec.architecture, **spec.arguments)
    radius = found.receptive_field_radius
    if (found.alignment, radius) != (spec.alignment, spec.receptive_field_radius):
        raise BundleError(
            f"the contract says alignment {spec.alignment} and radius {spec.receptive_field_radius}, "
            f"{spec.architecture} with its arguments has {found.alignment} and {radius}; "
            "save the bundle again"
        )
    if spec.is_as_saved and spec.counted != counted(spec):
        raise BundleError(
            f"geoseg:counted of the contract is not what {spec.architecture} with its arguments takes; "
            "save the bundle again"
        )
    seen = "sees the whole window" if radius is None else f"radius {radius} px"
    return f"{spec.architecture}, alignment {found.alignment} px, {seen}"


def _weights(bundle: Bundle) -> str:
    spec, path = bundle.spec, bundle.folder / WEIGHTS_NAME
    arrays = read_weights(path, spec.sha256)
    size = path.stat().st_size
    if spec.weights is not None and spec.weights.size != size:
        raise BundleError(
            f"{path} has {size} bytes, the contract says {spec.weights.size}; save the bundle again"
        )
    return f"{len(arrays)} tensors, {size / 1e6:.2f} MB, all finite, sha256 {spec.sha256[:12]}…"


def _fit(bundle: Bundle) -> str:
    network = bundle.network()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if bundle.spec.weights is not None and bundle.spec.weights.parameters != parameters:
        raise BundleError(
            f"the network has {parameters} parameters, the contract says {bundle.spec.weights.parameters}; "
            "save the bundle again"
        )
    return f"every tensor has its place, {parameters:,} parameters"


def _scene(
    bundle: Bundle, height: int, width: int, seed: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Values such as the scaling expects, float32 (1, bands, height, width)."""
    spec = bundle.spec
    noise = np.random.default_rng(seed).standard_normal((1, len(spec.bands), height, width))
    shape = (1, -1, 1, 1)
    mean, std = np.reshape(spec.scaling.mean, shape), np.reshape(spec.scaling.std, shape)
    return (mean + std * noise).astype(np.float32)


def _forward(bundle: Bundle) -> str:
    side = align_up(_SIDE, bundle.spec.alignment)
    predictor, valid = Predictor(bundle), np.ones((1, side, side), np.bool_)
    first, other = (predictor.logits(_scene(bundle, side, side, seed), valid) for seed in (0, 1))
    if not (np.isfinite(first).all() and np.isfinite(other).all()):
        raise BundleError("logits are not finite on an image of usual values; train it again")
    if np.array_equal(first, other):
        raise BundleError("logits are the same for different images: the weights are dead; train it again")
    low, high = float(min(first.min(), other.min())), float(max(first.max(), other.max()))
    return f"{side}×{side} px, logits {low:.3g} to {high:.3g}, finite, and they follow the image"


def _odd_sizes(bundle: Bundle) -> str:
    height, width = _SIDE - 19, _SIDE - 3
    alignment, predictor = bundle.spec.alignment, Predictor(bundle)
    more = ((0, 0), (0, -height % alignment), (0, -width % alignment))
    pixels, valid = _scene(bundle, height, width, 2), np.ones((1, height, width), np.bool_)
    found = predictor.logits(pixels, valid)
    wide = predictor.logits(np.pad(pixels, ((0, 0), *more)), np.pad(valid, more))
    if not np.array_equal(found, wide[..., :height, :width]):
        raise BundleError(f"{height}×{width} px give other logits than when padded without data; report this")
    return f"{height}×{width} px give what they give when padded without data"


def _receptive_field(network: Network) -> str:
    """A broken pixel (NaN) must not be seen farther away than the radius says."""
    radius, alignment = network.receptive_field_radius, network.alignment
    if radius is None:
        return "every output sees the whole window: nothing to measure"
    if radius > _FARTHEST:
        return f"not measured: beyond {_FARTHEST} px"
    before = (-(-radius // alignment) + 1) * alignment
    farthest = 0
    for phase in sorted({0, alignment // 2, alignment - 1}):
        image = torch.zeros(1, network.bands, alignment, 2 * before + alignment)
        image[..., before + phase] = torch.nan
        hit = cast("Tensor", network(image))[0].isnan().any(0).any(0).nonzero()[:, 0]
        if len(hit):
            farthest = max(farthest, *(abs(int(end) - before - phase) for end in (hit.min(), hit.max())))
    if farthest > radius:
        raise BundleError(f"a pixel is seen {farthest} px away, the contract says {radius} px; save it again")
    return f"a pixel is seen {farthest} px away at most, as far as tried; the contract says {radius} px"


def _alignment(network: Network) -> str:
    """Windows that are one alignment apart must agree where neither sees its edge."""
    radius, step = network.receptive_field_radius, network.alignment
    if radius is None or radius > _FARTHEST:
        return "nothing to measure: no part of a window is without its edge's influence"
    margin = align_up(radius, step)
    width = 2 * margin + 2 * step
    noise = torch.Generator().manual_seed(0)
    image = torch.randn(1, network.bands, step, width + step, generator=noise)
    first = cast("Tensor", network(image[..., :width]))[..., margin + step : margin + 2 * step]
    second = cast("Tensor", network(image[..., step:]))[..., margin : margin + step]
    difference = float((first - second).abs().max())
    if not difference <= _ROUNDING * max(1.0, float(first.abs().max())):
        raise BundleError(
            f"windows {step} px apart differ by {difference:.2g} far from their edges; report this"
        )
    return f"windows {step} px apart agree far from their edges, to {difference:.1g}"


def _graph(bundle: Bundle) -> str:
    bundle.check_graph()
    if bundle.spec.int8 is not None:
        bundle.check_graph("int8")
    todo = f"make it again: geoseg models graph {bundle.folder} -o FOLDER"
    difference = check_graph_computes(bundle.network(), bundle.spec, bundle.graph_path(), todo)
    return f"OpenVINO gives torch's logits, to {difference:.1g} of the largest"
