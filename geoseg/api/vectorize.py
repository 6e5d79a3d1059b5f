"""``geoseg.vectorize``: a raster, an array or a predicted dataset becomes a GeoDataFrame of polygons."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from geoseg.config.stac.refs import BandRef, SceneRef, Trust
from geoseg.config.vectorize import Vectorize
from geoseg.engine.bounds import POLYGON_STRIP
from geoseg.errors import GridError, SceneError, SceneWarning
from geoseg.flow.vectorize import polygon_layer, vectorize_options
from geoseg.grid.encoding import BORDER_NAME
from geoseg.grid.orientation import Orientation
from geoseg.io.raster.data_array import geobox_of, nodata_of
from geoseg.io.raster.reader import ArrayReader
from geoseg.io.raster.scene import Scene, pixel_size
from geoseg.io.raster.score_raster import AnyKind, Kind, ScoreRaster, ScoreReader, describe_scores
from geoseg.io.raster.validity import Nodata
from geoseg.io.vector.features import Table
from geoseg.io.vector.frame import frame_of
from geoseg.polygons.attributes import FIELDS

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["vectorize"]

_IMAGE = 2
"""Dimensions of an image of one band: y, x."""


def vectorize(
    source: xr.Dataset | xr.DataArray | str | Path,
    *,
    mode: Literal["auto", "exact", "objects", "coverage"] = "auto",
    threshold: float | None = None,
    classes: Sequence[str] | None = None,
    min_area: float | str | None = None,
    names: Mapping[int, str] | None = None,
    kind: AnyKind = "auto",
    mask: str | Path | None = None,
    trust: Trust = "catalog",
    options: Mapping[str, Any] | None = None,
) -> gpd.GeoDataFrame:
    """Polygons of a raster, an array or what :func:`geoseg.predict` gave, as ``geoseg vectorize`` makes them.

    Args:
        source: a dataset of ``geoseg.predict`` (its probabilities count); an array of probabilities, floats
            in 0 to 1, (class, y, x) or (y, x), NaN where there is no data, or of class ids, whole numbers
            (y, x); or the path of such a raster. One band of probabilities stands for a class against its
            background. Arrays carry CRS and transform as rioxarray writes them.
        mode: objects: one clean polygon per object. coverage: no gaps and no overlaps. exact: along the
            pixels. auto: objects for one class against a background, else coverage.
        threshold: probability from which a pixel belongs to the only class; default 0.5.
        classes: names of the classes to outline; default: all but the background (in a coverage, all).
        min_area: smallest polygon, in m² or such as ``"90 px"``; default: 8 m² for objects.
        names: class id → name, over what the source says.
        kind: what the values are; auto: class ids where they are whole numbers without a scale (at most 32
            different ones, unless a color table or ``names`` call them classes).
        mask: path of a raster of the same grid, 0 where there is no data; for a path only.
        trust: what GDAL may open, for a path.
        options: other keys of a workflow's section ``vectorize``, such as
            ``{"simplify": "0.3 m", "regularize": {"method": "none"}}``.

    Returns:
        One row per polygon, in the CRS of the source, with the columns of
        :data:`geoseg.polygons.attributes.FIELDS`.

    Raises:
        ConfigError: a mistake in the options.
        SceneError: the source cannot be vectorized.
    """
    wanted: dict[str, Any] = {"mode": mode, **(options or {})}
    if threshold is not None:
        wanted["threshold"] = float(threshold)
    if classes is not None:
        wanted["classes"] = list(classes)
    if min_area is not None:
        wanted["min_area"] = min_area if isinstance(min_area, str) else f"{min_area:g} m2"
    chosen = vectorize_options({f"vectorize.{key}": value for key, value in wanted.items()})
    reader = _reader(source, kind, None if mask is None else Path(mask), trust)
    try:
        with reader:
            layer = polygon_layer(reader, chosen, chosen.model_fields_set, names or {})
            for warning in layer.warnings:
                warnings.warn(f"{reader.raster.href}: {warning}", SceneWarning, stacklevel=2)
            table = Table(Vectorize().layer, reader.raster.scene.geobox, FIELDS)
            return frame_of(layer.features, table)
    except GridError as error:
        raise SceneError(f"{reader.raster.href}: {error}") from error


def _reader(source: object, kind: AnyKind, mask: Path | None, trust: Trust) -> ScoreReader:
    if isinstance(source, str | Path):
        raster = describe_scores(Path(source), kind, trust, mask)
        return ScoreReader(raster, POLYGON_STRIP)
    if mask is not None:
        raise SceneError("a mask goes with the path of a raster; mark pixels of an array as nodata instead")
    if isinstance(source, xr.Dataset):
        if "probability" not in source:
            raise SceneError(
                f"the dataset has the variables {', '.join(map(str, source.data_vars))} but needs "
                "probability, as geoseg.predict gives it; pass one variable to take it by itself"
            )
        border = source.get(BORDER_NAME)
        return _array_reader(source["probability"], "probability", border)
    if isinstance(source, xr.DataArray):
        scale = source.attrs.get("scale_factor", 1), source.attrs.get("add_offset", 0)
        if scale != (1, 0):
            raise SceneError(
                f"the array is stored values, still to be scaled by {scale[0]:g} and {scale[1]:+g}: open it "
                "with rioxarray.open_rasterio(path, mask_and_scale=True), or pass the path"
            )
        return _array_reader(source, kind, None)
    raise TypeError(f"vectorize takes a dataset, an array or a path, got {type(source).__name__}")


def _array_reader(array: xr.DataArray, kind: AnyKind, border: xr.DataArray | None) -> ScoreReader:
    """Reads an array as :class:`ScoreReader` reads a file."""
    if array.ndim == _IMAGE:
        array = array.expand_dims("band")
    elif border is None and _names(array, len(array))[-1] == BORDER_NAME:
        array, border = array[:-1], array[-1]
    orientation = Orientation.of(geobox_of(array))
    box = orientation.grid
    name = "array" if array.name is None else str(array.name)
    pixels = np.asarray(array.data)
    if pixels.dtype.kind not in "buif":
        raise SceneError(f"the array holds {pixels.dtype} but needs real numbers")
    found: Kind = kind if kind != "auto" else "classes" if pixels.dtype.kind in "bui" else "probability"
    if found == "classes" and len(pixels) > 1:
        raise SceneError(f"the array has {len(pixels)} bands but class ids are one; pass array.isel(band=0)")
    described = _names(array, len(pixels))
    if border is not None:
        pixels = np.concatenate([pixels, np.asarray(border.data, pixels.dtype)[None]])
        described = (*described, BORDER_NAME)
    pixels = orientation.pixels(pixels)
    digest = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
    bands = tuple(BandRef(name, i, label or f"b{i}") for i, label in enumerate(described, 1))
    count = len(pixels)
    nodata = Nodata.of_scores([pixels.dtype.name] * count, [nodata_of(array)] * count, [(1, 0)] * count)
    scene = Scene(
        ref=SceneRef(name, ()),
        geobox=box,
        stored=orientation.stored,
        bands=bands,
        dtype=pixels.dtype.name,
        nodata=nodata,
        resolution=pixel_size(name, box),
        identity=digest,
    )
    guessed = kind == "auto" and found == "classes"
    raster = ScoreRaster(scene, found, described, box.shape, border=border is not None, guessed=guessed)
    return ScoreReader(raster, POLYGON_STRIP, ArrayReader(pixels, box, nodata=nodata))


def _names(array: xr.DataArray, count: int) -> tuple[str, ...]:
    """Names of the bands, from a coordinate of text along the first dimension; else empty."""
    label = array.coords.get(array.dims[0])
    if label is None or label.dtype.kind not in "UO":
        return ("",) * count
    return tuple(map(str, label.to_numpy()))
