"""xarray images: the grid, bands and nodata value of one, and maps opened as such, lazily."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from rioxarray.exceptions import MissingSpatialDimensionError

from geoseg.arrays import Array, Float64, UInt8
from geoseg.config.band_names import common_name, micrometers, name_at, plain, says_nothing
from geoseg.errors import GridError, SceneError, SceneWarning
from geoseg.grid.geobox import GeoBox
from geoseg.io.crs import crs_doubts, crs_of
from geoseg.io.raster.bands import Offered, Saying, choose, not_understood, without_partial_wavelengths
from geoseg.io.raster.gdal import reading_back

__all__ = ["colors_of", "geobox_of", "in_model_order", "masked_doubts", "nodata_of", "open_map", "scale_of"]

_BANDS_ROWS_COLUMNS = 3
_PER_BAND = ("long_name", "scales", "offsets")
"""Attributes that rioxarray gives an array with a value per band."""
_NODATA = ("_FillValue", "missing_value", "fill_value", "nodata")
"""Attributes that declare nodata; the first counts, as for rioxarray."""
_GROUND = ("xc", "yc")
"""Coordinates of every pixel, as rioxarray calls them where a transform is turned."""
_DRIFT = 0.05
"""Pixels by which a coordinate may be off its place: in many files they are single precision."""


def open_map(path: Path, *, masked: bool) -> xr.DataArray:
    """A raster that geoseg wrote, opened without reading its pixels, dask-backed in the blocks of the file.

    Dimensions (band, y, x), with CRS and transform. ``masked``: values as float32 in physical units (stored ×
    scale), NaN where there is no data; else the stored values.
    """
    with reading_back(path):
        opened = rioxarray.open_rasterio(path, chunks={}, masked=masked, mask_and_scale=masked, lock=False)
    assert isinstance(opened, xr.DataArray), "a single raster is a single array"
    return opened


def colors_of(path: Path) -> UInt8:
    """The color table of a class raster: uint8 (256, 4), RGBA."""
    colors = np.zeros((256, 4), np.uint8)
    source = Path(path)
    with reading_back(source), rasterio.open(source) as dataset:
        for value, color in dataset.colormap(1).items():
            colors[value] = color
    return colors


def geobox_of(array: xr.DataArray) -> GeoBox:
    """The grid of an array (band, y, x) from its transform or coordinates: north-up, south-up or turned.

    Raises:
        SceneError: other dimensions, no CRS, no transform, or coordinates that are not evenly spaced.
    """
    try:
        spatial = (array.rio.y_dim, array.rio.x_dim)
    except MissingSpatialDimensionError as error:
        raise SceneError(
            f"none of the array's dimensions {array.dims} are known as x and y; name them with "
            "array.rio.set_spatial_dims(x_dim=…, y_dim=…)"
        ) from error
    if array.ndim != _BANDS_ROWS_COLUMNS or array.dims[1:] != spatial:
        raise SceneError(
            f"the array has dimensions {array.dims} but needs (band, {', '.join(map(str, spatial))}); see "
            "array.expand_dims and array.transpose"
        )
    if array.rio.crs is None:
        raise SceneError("the array has no CRS; set it with array.rio.write_crs(…)")
    crs = crs_of(
        array.rio.crs,
        lambda fault: SceneError(f"the array {fault}; set the right CRS with array.rio.write_crs(…)"),
    )
    height, width = array.shape[1:]
    try:
        box = GeoBox(height, width, _transform(array), crs)
    except GridError as error:
        raise SceneError(f"the array has no grid: {error}") from error
    for doubt in crs_doubts(box, 'array.rio.write_crs("EPSG:n")'):
        warnings.warn(doubt, SceneWarning, stacklevel=3)
    return box


def _transform(array: xr.DataArray) -> Affine:
    """The transform that the array has, as long as its coordinates agree; else that of the coordinates."""
    stated: Affine = array.rio.transform()
    turned, ground = bool(stated.b or stated.d), _ground_coordinates(array)
    if ground is not None and (turned or not any(name in array.coords for name in array.dims[1:])):
        return _turned_transform(stated, *ground)
    if turned:
        _check_counts(array)
        return stated
    exact = _stated_transform(array)
    if exact is not None and not _misplaced(array, exact, rounded=True) and _in_single_precision(array):
        return exact
    wrong = ""
    for recalculated in (False, True):
        transform = array.rio.transform(recalc=True) if recalculated else stated
        if transform == Affine.identity():
            raise SceneError(
                "the array has no transform, and no coordinates of at least two pixels each way; set it "
                "with array.rio.write_transform(…)"
            )
        wrong = _misplaced(array, transform, rounded=False)
        if not wrong:
            return transform
    found, step = array.coords[wrong].values, transform.a if wrong == array.dims[2] else transform.e
    if np.max(_rounding(found)) > _DRIFT * abs(step):
        raise SceneError(
            f"the array's coordinates {wrong!r} are {found.dtype}, too coarse to place its pixels, and no "
            "transform that it has agrees; set the right one with array.rio.write_transform(…)"
        )
    raise SceneError(
        f"the array's coordinates {wrong!r} are not evenly spaced; resample it to a regular grid"
    )


def _stated_transform(array: xr.DataArray) -> Affine | None:
    """The transform as stated; that of ``rio.transform()`` begins at the first coordinates."""
    mapping = array.coords.get(array.rio.grid_mapping)
    text = None if mapping is None else mapping.attrs.get("GeoTransform")
    return None if text is None else Affine.from_gdal(*map(float, str(text).split()))


def _in_single_precision(array: xr.DataArray) -> bool:
    """Whether coordinates along x or y are floats of fewer bits than a transform's."""
    dtypes = [array.coords[name].dtype for name in array.dims[1:] if name in array.coords]
    return any(dtype.kind == "f" and dtype.itemsize < np.dtype(np.float64).itemsize for dtype in dtypes)


def _misplaced(array: xr.DataArray, transform: Affine, *, rounded: bool) -> str:
    """The dimension whose coordinates are not where a transform puts the pixels' centers; empty: none.

    ``rounded``: they may be off by what their type rounds, too (in float32 a northing by 0.125 m), which is
    less than the place of another pixel would show, but too much to make a transform of them.
    """
    steps = ((transform.e, transform.f), (transform.a, transform.c))
    for name, (step, first) in zip(array.dims[1:], steps, strict=True):
        if name in array.coords:
            centers = first + step * (np.arange(array.sizes[name]) + 0.5)
            found = array.coords[name].values
            if not (np.abs(found - centers) <= _DRIFT * abs(step) + rounded * _rounding(found)).all():
                return str(name)
    return ""


def _rounding(coordinates: Array) -> Array | float:
    """What the type of some coordinates rounds at most; they are NaN where they are."""
    return np.spacing(np.abs(coordinates)) / 2 if coordinates.dtype.kind == "f" else 0.0


def _ground_coordinates(array: xr.DataArray) -> tuple[Array, Array] | None:
    """Easting and northing (y, x) of the pixels, as turned rasters have them of rioxarray; None: without."""
    spatial = array.dims[1:]
    found = [array.coords[name] for name in _GROUND if name in array.coords]
    if len(found) < len(_GROUND) or any(set(one.dims) != set(spatial) for one in found):
        return None
    x, y = (one.transpose(*spatial).values for one in found)
    return x, y


def _turned_transform(stated: Affine, x: Array, y: Array) -> Affine:
    """The transform of the coordinates of every pixel: the stated one where they agree, else their own.

    Slices and coarsened arrays take the coordinates along, and keep the transform of the whole.
    """
    if stated == Affine.identity():
        stated = Affine.scale(0)
    elif _at_centers(stated, x, y, rounded=True):
        return stated
    height, width = x.shape
    corners = ((0, 0), (0, -1), (-1, 0))
    first, right, low = (np.array([x[corner], y[corner]], np.float64) for corner in corners)
    across, down = (
        np.array([stated.a, stated.d]),
        np.array([stated.b, stated.e]),
    )  # where one pixel tells none
    if width > 1:
        across = (right - first) / (width - 1)
    if height > 1:
        down = (low - first) / (height - 1)
    turned = Affine(across[0], down[0], first[0], across[1], down[1], first[1])
    turned @= Affine.translation(-0.5, -0.5)
    if not turned.is_degenerate and _at_centers(turned, x, y, rounded=False):
        return turned
    raise SceneError(
        "the array's coordinates 'xc' and 'yc' are not those of its transform, and not evenly spaced "
        f"(or too coarse as {x.dtype}); pass array.drop_vars(['xc', 'yc']) where the transform is right, "
        "else set that, too, with array.rio.write_transform(…)"
    )


def _at_centers(transform: Affine, x: Array, y: Array, *, rounded: bool) -> bool:
    """Whether coordinates (y, x) are where a transform puts the pixels' centers, or would be ``rounded``."""
    drift = _DRIFT * min(np.hypot(transform.a, transform.d), np.hypot(transform.b, transform.e))
    rows, cols = np.ogrid[0.5 : len(x), 0.5 : x.shape[1]]
    centers = (
        transform.c + transform.a * cols + transform.b * rows,
        transform.f + transform.d * cols + transform.e * rows,
    )
    return all(
        (np.abs(found - expected) <= drift + rounded * _rounding(found)).all()
        for found, expected in zip((x, y), centers, strict=True)
    )


def _check_counts(array: xr.DataArray) -> None:
    """Refuse a turned array with coordinates along x or y, unless they count its pixels from 0."""
    for name in array.dims[1:]:
        if name in array.coords:
            counts = np.asarray(array.coords[name]) - np.arange(array.sizes[name])
            if not ((counts == 0).all() or (counts == 0.5).all()):  # noqa: PLR2004 - their centers
                raise SceneError(
                    f"the array's transform is turned, and its coordinates {name!r} are not those of its "
                    "pixels: the array may be a part of the image; pass array.drop_vars"
                    f"({list(map(str, array.dims[1:]))}), with the part's own transform by "
                    "array.rio.write_transform(…)"
                )


def scale_of(array: xr.DataArray) -> tuple[Float64, Float64] | None:
    """Scale and offset that the values of an array (band, y, x) still lack, each (bands, 1, 1); None: none.

    Those among its attributes (``scale_factor``, ``add_offset``; ``scales`` and ``offsets`` where bands
    differ), as rioxarray gives them. In its ``encoding`` they are applied already: ``mask_and_scale=True``.

    Raises:
        SceneError: they are no numbers, leave no values, or are of another number of bands.
    """
    scale = _per_band(array, "scale_factor", "scales", 1.0)
    offset = _per_band(array, "add_offset", "offsets", 0.0)
    if (scale == 0).any() or not np.isfinite([scale, offset]).all():
        raise SceneError(
            f"the array's scale {scale.tolist()} and offset {offset.tolist()} leave no values; correct or "
            "remove scale_factor and add_offset among its attributes"
        )
    if (scale == 1).all() and (offset == 0).all():
        return None
    return scale[:, None, None], offset[:, None, None]


def _per_band(array: xr.DataArray, name: str, per_band: str, default: float) -> Float64:
    """An attribute of all bands, or of each; chosen bands take theirs by number, the ``band`` coordinate."""
    count = len(array)
    if per_band not in array.attrs:
        given = array.attrs.get(name, default)
    else:
        given = array.attrs[per_band]
        numbers = np.atleast_1d(np.asarray(array.coords.get("band", ())))
        if numbers.dtype.kind in "iu" and 1 <= numbers.min() <= numbers.max() <= len(given):
            given = [given[number - 1] for number in numbers]
    try:
        return np.broadcast_to(np.asarray(given, np.float64), (count,)).copy()
    except (TypeError, ValueError) as error:
        key = per_band if per_band in array.attrs else name
        raise SceneError(
            f"the array's attribute {key} is {given!r:.80}, which does not fit {count} bands; give one, "
            "or one for each band"
        ) from error


def nodata_of(array: xr.DataArray) -> float | None:
    """The value that marks pixels without data; None: there is none beside NaN and infinity.

    Floats whose ``encoding`` holds it have NaN instead. Whole numbers cannot, and hold the value itself.

    Raises:
        SceneError: it is no number.
    """
    encoded = array.encoding.get("_FillValue")
    nodata = next((array.attrs[name] for name in _NODATA if name in array.attrs), encoded)
    if encoded is None or array.dtype.kind == "f":
        # Where no pixel of this dtype can hold the value, rioxarray raises: it stays as it is declared.
        with suppress(OverflowError, TypeError, ValueError), np.errstate(over="ignore"):
            nodata = array.rio.nodata
    try:
        value = np.nan if nodata is None else float(nodata)
    except (TypeError, ValueError) as error:
        raise SceneError(
            f"the array's nodata is {nodata!r:.80}, which is no number; remove _FillValue from its "
            "attributes and encoding, and set it with array.rio.write_nodata(…)"
        ) from error
    return value if np.isfinite(value) else None


def masked_doubts(array: xr.DataArray) -> tuple[str, ...]:
    """Whether 8-bit nodata was masked band by band (``masked=True``), so that a dark roof is a hole."""
    nodata = array.encoding.get("_FillValue")
    stored = np.dtype(array.encoding.get("rasterio_dtype", array.dtype))
    if nodata is None or array.dtype.kind != "f" or stored.itemsize > 1 or len(array) == 1:
        return ()
    masked = f"the array was opened with nodata {float(nodata):g} masked in each band"
    remedy = f"open it with masked=False: {stored} is nodata only where all bands hold it"
    return (f"{masked}, so that one band makes a hole; {remedy}",)


def in_model_order(array: xr.DataArray, needed: Sequence[str]) -> tuple[xr.DataArray, tuple[str, ...]]:
    """The bands of an array (band, y, x) that a model needs, in its order, and what its user should know.

    They are chosen by name, with the rule of :mod:`geoseg.io.raster.bands`: the coordinate of the first
    dimension or one that is called ``common_name``, where it is text, the attribute ``long_name``
    (descriptions, as rioxarray reads them), and the coordinates ``center_wavelength`` (µm) and
    ``wavelength``. All bands in their order where no name is stated, or where those that are agree with it.

    Raises:
        SceneError: names are partial, repeated or contradict each other.
    """
    offered = _offered(array)
    wanted = [common_name(name) or plain(name) for name in needed]
    stated = [band.stated or band.own for band in offered]
    if not set(wanted) & {*stated, *(saying.name for band in offered for saying in band.sayings)}:
        return array, _unknown_names(offered, needed)
    agreed = len(offered) == len(wanted) and all(
        name == other or band.stated is None
        for band, name, other in zip(offered, stated, wanted, strict=True)
    )
    if agreed and not any(band.contradiction for band in offered):
        return array, ()
    dim = array.dims[0]

    def advise(numbers: Sequence[int]) -> str:
        places = ", ".join(str(number - 1) for number in numbers)
        order = f" as array.isel({dim}=[{places}])" if numbers else ""
        return (
            f"name every band with array.assign_coords({dim}=[…]), or give them in the model's order{order} "
            f"without names, by array.drop_vars({dim!r}) and del array.attrs['long_name']"
        )

    return _at(array, choose(offered, needed, advise)), ()


def _at(array: xr.DataArray, places: list[int]) -> xr.DataArray:
    """Some bands of an array, with what its attributes list per band, unless numbers still lead to it."""
    chosen: xr.DataArray = array[places]
    if _numbers(array) is None:
        for name in _PER_BAND:
            values = array.attrs.get(name)
            if isinstance(values, tuple | list) and len(values) == len(array):
                chosen.attrs[name] = tuple(values[place] for place in places)
    return chosen


def _numbers(array: xr.DataArray) -> list[int] | None:
    """Numbers in its file of the bands of an array, from 1, by its coordinate; None: it has none."""
    dim = array.dims[0]
    values = array.coords[dim].values if dim in array.coords else np.empty(0)
    return [int(value) for value in values] if values.dtype.kind in "iu" and values.min() >= 1 else None


def _offered(array: xr.DataArray) -> list[Offered]:
    """The bands of an array, with what its coordinates and attributes say of them."""
    dim, count = array.dims[0], array.shape[0]
    texts = {
        f"the coordinate {name!r}": _texts(array.coords[name].values)
        for name in ("common_name", str(dim))
        if name in array.coords and array.coords[name].dims == (dim,)
    }
    described = array.attrs.get("long_name")
    names, numbers = _texts([described] if isinstance(described, str) else described), _numbers(array)
    if numbers is not None and max(numbers) <= len(names):  # of all bands, wherever these have gone since
        names = [names[number - 1] for number in numbers]
    texts["long_name"] = names
    texts = {by: names for by, names in texts.items() if len(names) == count}
    centers = {
        f"the coordinate {name!r}": [micrometers(str(value), unit) for value in array.coords[name].values]
        for name, unit in (("center_wavelength", "um"), ("wavelength", ""))
        if name in array.coords and array.coords[name].dims == (dim,)
    }
    offered = []
    for i in range(count):
        sayings = [Saying(by, name) for by, names in texts.items() if (name := common_name(names[i]))]
        sayings += [
            Saying(f"{by} ({center:g} µm)", name_at(center), center)
            for by, values in centers.items()
            if (center := values[i]) is not None
        ]
        number = i + 1 if numbers is None else numbers[i]
        given = [names[i] for names in texts.values() if not says_nothing(names[i], number)]
        text, texts_of = given[0] if given else "", tuple(given[:1])
        offered.append(Offered(i + 1, plain(text) or f"b{i + 1}", tuple(sayings), text=text, texts=texts_of))
    return without_partial_wavelengths(offered)


def _texts(values: Any) -> list[str]:
    """Names of bands; empty for numbers, which say nothing."""
    found = list(values) if isinstance(values, tuple | list | np.ndarray) else []
    return [value or "" for value in found] if all(isinstance(value, str | None) for value in found) else []


def _unknown_names(offered: Sequence[Offered], needed: Sequence[str]) -> tuple[str, ...]:
    """A warning where bands have names that mean nothing here, and their order decides."""
    called = [(band, name) for band, name in zip(offered, needed, strict=False) if band.texts]
    if len(offered) != len(needed) or not called:
        return ()
    doubt = not_understood([band for band, _ in called], [name for _, name in called])
    return (f"of the array, {doubt}, in this order",)
