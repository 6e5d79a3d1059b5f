"""An image against a model's contract: bands, ground resolution, type and range of the values.

:func:`check_header` needs no pixel; it may ask for a sample to name a fitting stretch. :func:`check_values`
judges a sample. Both serve scenes and arrays: only the words by which one types a setting differ
(:data:`WORKFLOW`, :data:`CALL`).

A workflow's scenes are sampled by ``geoseg check``, and in ``geoseg run`` by the task of the first window
rows, before its network runs: the same windows under the same rule, so that what one passes the other maps,
at the cost of some nine windows a scene. The driver of a run reads pixels for one purpose only: to propose a
stretch, for the first few scenes that are refused without one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from geoseg.config.model.contract import BundleSpec
from geoseg.errors import SceneError
from geoseg.grid.geobox import GeoBox
from geoseg.io.raster.sample import SAMPLE_SIDE, Sample, take_sample, undeclared_fill
from geoseg.io.raster.scene import Scene
from geoseg.io.raster.scene_reader import has_collar, kept_reader, without_data
from geoseg.io.raster.validity import Nodata

__all__ = [
    "CALL",
    "WORKFLOW",
    "Findings",
    "Image",
    "Settings",
    "advice",
    "check_header",
    "check_stretch",
    "check_values",
    "examine",
    "fitting_stretch",
    "image_of",
    "is_coarser",
    "nodata_doubts",
    "sample_scene",
    "sample_side",
]

Stretch = tuple[float, float]

_ROUNDING = 1.01
"""Resolutions that differ by less are the same: a map projection's scale is not 1."""
_FAR_COARSER = 2
"""Times the coarsest resolution of the training beyond which a scene is refused."""
_MOST = 0.5
"""Share of the values beyond which what is wrong with them is said."""
_FEW_LEVELS = 10
"""Levels of 8 bits of which a stretch should leave more."""
_DEPTHS: Final = tuple(2.0**bits - 1 for bits in (8, 10, 11, 12, 14, 16))
"""Largest values of the bit depths that sensors and products have."""
_LEAST_SIDE = 16
_BANDS = 4
"""Bands beyond which windows are smaller, so that a sample's memory does not grow with them."""
_COLLAR: Final = (
    "lossy compression smeared nodata along its edges, and what it left near that value counts as data; set "
    "scenes.collar: auto"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a user types what a message tells to set."""

    stretch: str
    resolution: str
    nodata: str
    bands: str
    declared: str
    """How a nodata value is declared."""
    scale: str
    """Where scale and offset are stated."""
    unscaled: str
    """How the values as stored are asked for."""

    def stretched(self, stretch: Stretch) -> str:
        """The stretch with two values."""
        return self.stretch.format(*(f"{value:.10g}" for value in stretch))


WORKFLOW: Final = Settings(
    stretch="scenes.stretch: [{}, {}]",
    resolution="scenes.resolution: any",
    nodata="scenes.nodata or scenes.nodata_rule",
    declared="scenes.nodata: {}",
    bands="name them in scenes.bands",
    scale="scenes.scale",
    unscaled="scenes.scale: none",
)
CALL: Final = Settings(
    stretch="stretch=({}, {})",
    resolution='resolution="any"',
    nodata="the array's rio.nodata or nodata_rule",
    declared="array = array.rio.write_nodata({})",
    bands="select them with array.sel(band=[…])",
    scale="scale_factor and add_offset among the array's attributes",
    unscaled="an array without scale_factor and add_offset among its attributes",
)


@dataclass(frozen=True, slots=True)
class Image:
    """What is known of a scene or an array before its pixels are read."""

    bands: tuple[str, ...]
    dtype: str
    """Type of the values after scale and offset, by numpy's name."""
    stored_dtype: str
    resolution: float
    """Meters on the ground per pixel."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a sample shows."""

    summary: str
    """For the line of a scene: valid share and range of the values."""
    warnings: tuple[str, ...]


def image_of(scene: Scene) -> Image:
    """A scene as its header shows it."""
    names = tuple(band.name for band in scene.bands)
    return Image(names, scene.value_dtype, scene.dtype, scene.resolution.mean)


def is_coarser(resolution: float, than: float) -> bool:
    """Whether pixels are larger on the ground (in meters), by more than a projection's scale makes them."""
    return resolution > than * _ROUNDING


def check_header(
    image: Image,
    spec: BundleSpec,
    *,
    stretch: Stretch | None,
    any_resolution: bool,
    sample: Callable[[], Sample] | None,
    settings: Settings = WORKFLOW,
) -> tuple[str, ...]:
    """Compare an image with the contract as far as that needs no pixel; the warnings.

    Args:
        stretch: values after scale and offset that become 0 and 255; None: they stay as they are.
        any_resolution: whether ground far coarser than the model's is mapped all the same.
        sample: called only where the values cannot stay as they are, to name a stretch that fits; None: the
            refusal names none.

    Raises:
        SceneError: the image breaks the contract.
    """
    if len(image.bands) != len(spec.bands):
        raise SceneError(
            f"{len(image.bands)} bands ({', '.join(image.bands)}) but the model {spec.name} needs "
            f"{len(spec.bands)} ({', '.join(spec.bands)}), in this order; {settings.bands}"
        )
    warnings = _check_resolution(image.resolution, spec, any_resolution=any_resolution, settings=settings)
    _check_type(image, spec, stretch, sample, settings)
    return warnings


def _check_resolution(
    resolution: float, spec: BundleSpec, *, any_resolution: bool, settings: Settings
) -> tuple[str, ...]:
    coarsest = spec.coarsest_resolution
    if coarsest is None or not is_coarser(resolution, coarsest):
        return ()
    what = f"pixels of {resolution:.3g} m on the ground, coarser than the {coarsest:.3g} m"
    if is_coarser(resolution, _FAR_COARSER * coarsest) and not any_resolution:
        raise SceneError(
            f"{what}, and than twice that, down to which the model {spec.name} was trained: it sees no such "
            f"objects; give finer images, or map them all the same with {settings.resolution}"
        )
    return (f"{what} down to which the model {spec.name} was trained: expect a worse map",)


def _kind(dtype: str) -> str:
    """Types of one kind hold the same values: 8 bits, whole numbers of any other size, fractions."""
    return dtype if dtype == "uint8" else dtype.rstrip("0123456789").removeprefix("u")


def _check_type(
    image: Image,
    spec: BundleSpec,
    stretch: Stretch | None,
    sample: Callable[[], Sample] | None,
    settings: Settings,
) -> None:
    if stretch is not None:
        if spec.value_dtype != "uint8":
            raise SceneError(
                f"{settings.stretched(stretch)} makes values of 0 to 255, but the model {spec.name} was "
                f"trained on {spec.value_dtype} ({_ranged(spec)}); leave it out"
            )
        return
    if _kind(image.dtype) == _kind(spec.value_dtype):
        return
    scaled = image.dtype != image.stored_dtype
    what = f"{image.dtype} values after scale and offset" if scaled else f"{image.dtype} pixels"
    broken = f"{what} but the model {spec.name} was trained on {spec.value_dtype}"
    stored = f"{settings.unscaled} gives the {image.stored_dtype} values as stored"
    fits_stored = scaled and _kind(image.stored_dtype) == _kind(spec.value_dtype)
    if spec.value_dtype != "uint8":
        how = stored if fits_stored else f"give images of its kind, {_ranged(spec)}"
        raise SceneError(f"{broken}; {how}")
    otherwise = f", or {stored}" if fits_stored else ""
    if sample is None:
        given = settings.stretch.format("low", "high")
        raise SceneError(f"{broken}; set {given}{otherwise}; geoseg check proposes it for the first scenes")
    taken = sample()
    _check_valid(taken, settings)
    raise SceneError(f"{broken}; set {advice(taken, settings)}{otherwise}")


def _ranged(spec: BundleSpec) -> str:
    """The values that the training saw, in words."""
    low, high = min(low for low, _ in spec.seen_range), max(high for _, high in spec.seen_range)
    about = "" if spec.value_range is not None else "about "
    return f"{about}{low:.4g} to {high:.4g}"


def fitting_stretch(sample: Sample) -> Stretch:
    """A stretch for a sample: a whole bit depth that it fills, else 2 to 98 % of its values, rounded.

    Undeclared fill values have no part in it.
    """
    sample = sample.without_fill()
    low, high = sample.middle()
    least, most = sample.range()
    filled = [d for d in (1.0, *_DEPTHS) if 0.9 * d < most <= d and high > d / 2 and least >= 0]
    filled = [d for d in filled if (high - low) / d * 255 >= _FEW_LEVELS]
    if filled and (filled[0] != 1 or not np.isin(sample.values, (0, 1)).all()):
        return 0.0, filled[0]
    if low == high:
        low, high = (least, most) if least < most else (low - 1, high + 1)
    step = 10.0 ** (math.floor(math.log10(high - low)) - 2)
    return _on_step(math.floor(low / step + 1e-6), step), _on_step(math.ceil(high / step - 1e-6), step)


def _on_step(count: int, step: float) -> float:
    return float(f"{count * step:.10g}")


def advice(sample: Sample, settings: Settings = WORKFLOW) -> str:
    """The stretch to type, and where it is from."""
    least, most = sample.range()
    return (
        f"{settings.stretched(fitting_stretch(sample))} (2 to 98 % of the sampled values, which run from "
        f"{least:.6g} to {most:.6g})"
    )


def _check_valid(sample: Sample, settings: Settings) -> None:
    if not sample.valid and sample.whole:
        raise SceneError(
            f"0 % of its {sample.pixels} pixels are valid: all are nodata, masked or no numbers; where that "
            f"is wrong, set {settings.nodata}"
        )


def check_values(
    sample: Sample, spec: BundleSpec, stretch: Stretch | None, settings: Settings = WORKFLOW
) -> Findings:
    """Judge the sampled values of an image that :func:`check_header` passed.

    Raises:
        SceneError: no pixel is valid; all sampled values become black, or all white; values of other units
            than the model's.
    """
    _check_valid(sample, settings)
    if not sample.valid:
        return Findings("0 % valid", (f"none of the {sample.pixels} sampled pixels is valid",))
    low, high = sample.middle()
    summary = f"{100 * sample.valid_share:.3g} % valid, values {low:.4g} to {high:.4g}"
    if stretch is None:
        return Findings(summary, _check_range(sample, spec, settings))
    return Findings(summary, check_stretch(sample, stretch, settings))


def check_stretch(sample: Sample, stretch: Stretch, settings: Settings = WORKFLOW) -> tuple[str, ...]:
    """Judge a stretch by the sampled values; the warnings.

    Raises:
        SceneError: it leaves nothing but black, or nothing but white.
    """
    (low, high), (least, most) = stretch, sample.range()
    given, half = settings.stretched(stretch), (high - low) / 255 / 2
    if most < low + half or least > high - half:  # rounded to 8 bits, all are 0, or all 255
        raise SceneError(
            f"{given} makes all sampled values {'black' if most < low + half else 'white'}; it takes values "
            f"after scale and offset; set {advice(sample, settings)}"
        )
    # As in what is proposed, fill does not count, nor what is out by less than rounding to 8 bits changes.
    values = sample.without_fill().values
    clipped = float(((values < low - half) | (values > high + half)).mean(1).max())
    if clipped > _MOST:
        return (
            f"{given} clips {clipped:.0%} of the values of a band; fitting is {advice(sample, settings)}",
        )
    darkest, brightest = sample.middle()
    levels = round((brightest - darkest) / (high - low) * 255)
    if levels < _FEW_LEVELS:
        return (f"{given} leaves {levels} of 256 levels; fitting is {advice(sample, settings)}",)
    return ()


def _check_range(sample: Sample, spec: BundleSpec, settings: Settings) -> tuple[str, ...]:
    seen = np.array(spec.seen_range)
    least, most = sample.range()
    largest = float(np.abs(seen).max())
    what = (
        f"the sampled values run from {least:.6g} to {most:.6g}, {spec.name} was trained on {_ranged(spec)}"
    )
    # 8 bits have no other units; of the rest, what is hundreds of times smaller or far beyond has.
    tiny = max(abs(least), abs(most)) < largest / 100
    beyond = bool((sample.values.min(1) > seen[:, 1] + 2 * (seen[:, 1] - seen[:, 0])).all())
    if spec.value_dtype != "uint8" and (tiny or beyond):
        raise SceneError(f"{what}: its units are others; check scale and offset ({settings.scale})")
    outside = (sample.values < seen[:, :1]) | (sample.values > seen[:, 1:])
    share = float(outside.mean(1).max())
    return (f"{share:.0%} of the values of a band are new to the model: {what}",) if share > _MOST else ()


def nodata_doubts(
    sample: Sample,
    nodata: Nodata,
    factors: Sequence[tuple[float, float]],
    dtype: str,
    settings: Settings = WORKFLOW,
) -> tuple[str, ...]:
    """Whether a sample holds what looks like no data and is not declared; see :func:`undeclared_fill`."""
    found = undeclared_fill(sample.values, factors, dtype)
    if found is None or found[0] in nodata.values:
        return ()
    value, what = found
    return (
        f"{what}, and count as data; where that means no data, set {settings.declared.format(f'{value:g}')}",
    )


def sample_side(grid: GeoBox, source: GeoBox) -> int:
    """Side of the sampled windows of a grid: of no more pixels of its source than the default has."""
    finer = math.sqrt(grid.window.pixels / source.window.pixels)
    return max(_LEAST_SIDE, min(SAMPLE_SIDE, round(SAMPLE_SIDE * finer)))


def sample_scene(scene: Scene, grid: GeoBox) -> Sample:
    """A sample of a scene on a grid of its footprint.

    Raises:
        SceneError: it cannot be read, or has no valid pixel at all.
    """
    side = sample_side(grid, scene.geobox)
    fewer = min(1.0, _BANDS / len(scene.bands)) ** 0.5
    sample = take_sample(kept_reader(scene, grid), max(_LEAST_SIDE, round(side * fewer)))
    if not sample.valid:
        raise without_data(scene)
    return sample


def examine(scene: Scene, grid: GeoBox, spec: BundleSpec, stretch: Stretch | None) -> Findings:
    """What a sample of a scene shows on the model's grid.

    Raises:
        SceneError: the scene cannot be read, or as :func:`check_values`.
    """
    sample = sample_scene(scene, grid)
    found = check_values(sample, spec, stretch)
    factors = [(band.scale, band.offset) for band in scene.bands]
    doubts = nodata_doubts(sample, scene.nodata, factors, scene.dtype)
    if has_collar(scene):
        doubts = (*doubts, _COLLAR)
    return replace(found, warnings=(*found.warnings, *doubts))
