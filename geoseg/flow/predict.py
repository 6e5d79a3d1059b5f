"""``geoseg.predict``: an xarray image in, classes and probabilities on the same grid out.

The array is cut into rows of windows; the engine runs over an :class:`~geoseg.io.raster.reader.ArrayReader`,
lazily where the array is lazy, and the results are joined. No file is opened but the model's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dask
import dask.array as da
import numpy as np
import xarray as xr
from affine import Affine
from pydantic import ValidationError

from geoseg.arrays import Array, Float32, UInt8
from geoseg.config.mistakes import mistakes
from geoseg.config.model.contract import BundleSpec
from geoseg.config.stac.refs import NodataRule
from geoseg.config.workflow import Scenes, Workflow
from geoseg.engine.contract import CALL, Image, check_header, check_values, nodata_doubts, sample_side
from geoseg.engine.predict import WindowPredictor, predict_and_stitch
from geoseg.engine.tiles import Tiles, resolve_tiles
from geoseg.errors import ConfigError, SceneError, SceneWarning
from geoseg.grid.encoding import BORDER_NAME, NODATA, SCALE, ProbabilityEncoding, resampled
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import ground_resolution, model_grid
from geoseg.grid.orientation import Orientation
from geoseg.grid.resample import Resampler
from geoseg.grid.stitch import Stitcher, WindowOverlaps
from geoseg.grid.tiling import WindowRows
from geoseg.grid.window import Window, mirrored, row_windows
from geoseg.io.raster.data_array import geobox_of, in_model_order, masked_doubts, nodata_of, scale_of
from geoseg.io.raster.reader import ArrayReader, Raster
from geoseg.io.raster.sample import Sample, sample_windows, take_sample
from geoseg.io.raster.validity import Nodata
from geoseg.models.bundle import Bundle, load_bundle
from geoseg.models.predictor import Predictor
from geoseg.models.runtime import Runtime

__all__ = ["predict"]


def predict(
    array: xr.DataArray,
    model: Bundle | str | Path,
    *,
    threshold: float = 0.5,
    stretch: tuple[float, float] | None = None,
    resolution: Literal["model", "any"] = "model",
    nodata_rule: NodataRule = "auto",
    halo: int | str = "auto",
    blend: str = "auto",
    memory: float | str = "auto",
    device: str = "auto",
    precision: str = "auto",
    backend: str = "auto",
) -> xr.Dataset:
    """Classes and probabilities of an image, on its own grid; the same pixels as from ``geoseg run``.

    What is odd about its ground or values is a :class:`~geoseg.errors.SceneWarning`.

    Args:
        array: dimensions (band, y, x), with a CRS and a regular grid as rioxarray gives them; any real dtype.
            Bands with names (text as the coordinate ``band`` or ``common_name``, ``long_name``) are chosen by
            them; else they are the model's, in its order. No data: NaN in any band, ``rio.nodata``.
        model: a bundle, a shipped model's name or a path.
        threshold: probability from which a pixel of a model with one foreground class belongs to it.
        stretch: values mapped linearly to 0 … 255, for models that expect 8 bits: after scale and offset,
            which are applied where the array's attributes hold them (``scale_factor``, ``add_offset``).
        resolution: ``any``: map arrays far coarser on the ground than the model's training, too.
        nodata_rule: ``any`` or ``all`` bands that hold nodata make a pixel invalid; ``auto``: by their type.
        halo: in the model's pixels: a number, text such as ``96 px``, ``auto`` or ``exact``.
        blend: ``auto``, ``crop``, ``mean``, ``triangle`` or ``hann``.
        memory: what one task may use: bytes, or text such as ``4 GB`` or ``auto``.
        device, precision, backend: as in ``compute`` of a workflow.

    Returns:
        A dataset with ``classes`` (uint8 (y, x), 255: no data) and ``probability`` (float32 (class, y, x),
        NaN: no data; steps of 1/200). A model that knows the borders between objects also gives ``border``
        (float32 (y, x)), a part of its class's probability. All is lazy where the input is dask-backed.

    Raises:
        ConfigError: an option is not what a workflow would take.
        SceneError: no CRS or regular grid; other bands, ground or values (judged when computed) than needed.
        BundleError: there is no such model.
        GridError: halo, blend and memory do not fit together.
    """
    options = _options(
        scenes={"stretch": stretch, "resolution": resolution, "nodata_rule": nodata_rule},
        tiling={"halo": _with_unit(halo, "px"), "blend": blend},
        compute={
            "memory": _with_unit(memory, "B"),
            "device": device,
            "precision": precision,
            "backend": backend,
        },
        vectorize={"threshold": threshold},
    )
    bundle = model if isinstance(model, Bundle) else load_bundle(model)
    orientation = Orientation.of(geobox_of(_data_array(array)))
    return _mapped(
        array, orientation, _checked(array, orientation, bundle.spec, options.scenes), bundle, options
    )


def _data_array(array: object) -> xr.DataArray:
    if isinstance(array, xr.DataArray):
        return array
    raise TypeError(f"predict takes an xarray.DataArray with a CRS, got {type(array).__name__}")


def _mapped(
    array: xr.DataArray, orientation: Orientation, source: _Source, bundle: Bundle, options: Workflow
) -> xr.Dataset:
    """The map of an array that was checked."""
    spec, compute = bundle.spec, options.compute
    runtime = Runtime.of_model(spec, compute.device, compute.precision, backend=compute.backend)
    tiles = resolve_tiles(source.grid.shape, bundle, options.tiling, compute.memory_bytes, runtime)
    assert options.vectorize is not None, "it holds the threshold"
    encoding = spec.encoding(options.vectorize.threshold)
    prediction = _Prediction(source, tiles, encoding, bundle, runtime, options.scenes.stretch)
    stored = orientation.pixels(prediction.stored())
    return _dataset(array, orientation.stored.transform, stored, encoding, [c.name for c in spec.classes])


def _nodata(array: xr.DataArray, rule: NodataRule) -> Nodata:
    """Which values of an array mean no data; what contradicts itself is a warning."""
    count = len(array)
    nodata = Nodata.of([array.dtype.name] * count, [nodata_of(array)] * count, rule)
    names = [f"band {number}" for number in range(1, count + 1)]
    doubts = nodata.doubts(names, nodata="array.rio.write_nodata", rule="nodata_rule")
    for doubt in (*doubts, *masked_doubts(array)):
        warnings.warn(doubt, SceneWarning, stacklevel=4)
    return nodata


def _with_unit(value: float | str, unit: str) -> str:
    """A bare number as the text that a workflow has for it."""
    return f"{value} {unit}" if isinstance(value, int | float) else value


def _options(**sections: dict[str, Any]) -> Workflow:
    """Options as a workflow has them, with the same checks and the same messages."""
    try:
        return Workflow.model_validate({"catalog": "none", "model": "given", **sections})
    except ValidationError as error:
        messages = [f"{key[-1]}: {why}" for key, why in mistakes(error, Workflow)]
        raise ConfigError("; ".join(messages)) from error


def _checked(array: xr.DataArray, orientation: Orientation, spec: BundleSpec, options: Scenes) -> _Source:
    """How an array is read, compared with the contract before anything is computed; warns of what is odd."""
    array, doubts = in_model_order(array, spec.bands)
    source = _Source(
        orientation.pixels(array.data),
        orientation.grid,
        model_grid(orientation.grid, spec.resolution, spec.resolution_tolerance),
        _nodata(array, options.nodata_rule),
        scale_of(array),
    )
    doubts += check_header(
        _image(array, source.box, scaled=source.factors is not None),
        spec,
        stretch=options.stretch,
        any_resolution=options.resolution == "any",
        sample=source.sample,
        settings=CALL,
    )
    if source.factors is not None and array.dtype.kind == "f":
        applied = "scale_factor and add_offset among the array's attributes were applied"
        doubts += (f"{applied}; where its values are scaled already, remove them with array.attrs.pop",)
    for doubt in doubts:
        warnings.warn(doubt, SceneWarning, stacklevel=3)
    return source


def _image(array: xr.DataArray, box: GeoBox, *, scaled: bool) -> Image:
    """An array as a contract sees it; SceneError where it holds no real numbers."""
    if array.dtype.kind not in "buif":
        raise SceneError(f"the array holds {array.dtype}; give real numbers, such as uint8 or float32")
    stored = "uint8" if array.dtype.kind == "b" else array.dtype.name
    bands = tuple(f"b{number + 1}" for number in range(len(array)))
    return Image(bands, "float32" if scaled else stored, stored, ground_resolution(box).mean)


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """An array and how its pixels are read."""

    pixels: Any  # numpy or dask, (bands, rows, columns)
    box: GeoBox
    grid: GeoBox  # of the model
    nodata: Nodata
    factors: tuple[Array, Array] | None

    def rows_of(self, window: Window) -> slice:
        """Rows of the array that a window of the model's grid reads."""
        inside, _ = mirrored(window, self.grid.shape)
        return Resampler.between(self.box, self.grid).source_window(inside).slices[0]

    def reader(self, pixels: Array, first: int) -> ArrayReader:
        """A reader of some of the array's rows, beginning with ``first``."""
        return ArrayReader(
            pixels,
            self.box,
            self.grid,
            nodata=self.nodata,
            factors=self.factors,
            first=first,
            keep_bytes=True,
        )

    @property
    def side(self) -> int:
        """Side of the windows of a sample, in pixels of the model's grid."""
        return sample_side(self.grid, self.box)

    def sample(self) -> Sample:
        """A sample; rows of a lazy array are computed now."""
        lazy = isinstance(self.pixels, da.Array)
        reader = _RowsReader(self, lambda rows: np.asarray(self.pixels[:, rows]))
        return take_sample(reader, self.side, search=not lazy)

    def doubts(self, sample: Sample) -> tuple[str, ...]:
        """What of a sample looks like no data and is not declared."""
        scale, offset = self.factors or (
            np.ones((len(self.pixels), 1, 1)),
            np.zeros((len(self.pixels), 1, 1)),
        )
        factors = list(zip(scale.ravel().tolist(), offset.ravel().tolist(), strict=True))
        return nodata_doubts(sample, self.nodata, factors, self.pixels.dtype.name, CALL)

    def sampled_rows(self) -> list[slice]:
        """Rows of the array that a sample reads, without a search for data."""
        found = [self.rows_of(window) for window in sample_windows(self.grid.shape, self.side)]
        return [rows for index, rows in enumerate(found) if rows not in found[:index]]


class _RowsReader:
    """Windows of an array of which one stretch of rows is there at a time, a :class:`Reader`."""

    def __init__(self, source: _Source, rows: Callable[[slice], Array]) -> None:
        self.grid = source.grid
        self._source = source
        self._rows = rows
        self._held: tuple[slice, ArrayReader] | None = None

    def read(self, window: Window) -> Raster:
        """See :class:`~geoseg.io.raster.reader.Reader`."""
        wanted = self._source.rows_of(window)
        if self._held is None or self._held[0] != wanted:
            self._held = wanted, self._source.reader(self._rows(wanted), wanted.start)
        return self._held[1].read(window)


@dataclass(frozen=True, slots=True, eq=False)
class _Prediction:
    """One array's prediction as tasks: rows of windows over rows of the array, unmirrored."""

    source: _Source
    tiles: Tiles
    encoding: ProbabilityEncoding
    bundle: Bundle
    runtime: Runtime
    stretch: tuple[float, float] | None

    @property
    def stitcher(self) -> Stitcher:
        return Stitcher(self.tiles.grid, self.tiles.blend, self.encoding.channels)

    @property
    def back(self) -> Resampler:
        return Resampler.between(self.source.grid, self.source.box)

    def rows_read(self, rows: WindowRows) -> slice:
        """Rows of the array that some rows of windows read."""
        axis = self.tiles.grid.rows
        first, last = axis.start(rows.first), axis.start(rows.stop - 1)
        return self.source.rows_of(Window(first, 0, last + axis.window - first, self.source.grid.width))

    def examine(self, parts: Sequence[Array]) -> None:
        """Judge a sample of the array's rows, those of :meth:`_Source.sampled_rows`; warns of what is odd.

        Raises:
            SceneError: as :func:`geoseg.engine.contract.check_values`.
        """
        known = {rows.start: part for rows, part in zip(self.source.sampled_rows(), parts, strict=True)}
        sample = take_sample(
            _RowsReader(self.source, lambda rows: known[rows.start]), self.source.side, search=False
        )
        self.judge(sample)

    def judge(self, sample: Sample) -> None:
        """The same of a sample that is there."""
        found = check_values(sample, self.bundle.spec, self.stretch, CALL).warnings
        for warning in (*found, *self.source.doubts(sample)):
            warnings.warn(warning, SceneWarning, stacklevel=3)

    def predict(
        self, pixels: Array, first: int, rows: WindowRows, _examined: None
    ) -> tuple[UInt8, WindowOverlaps]:
        """Finished rows and overlaps of rows of windows, from the array's rows that begin with ``first``."""
        predictor = Predictor(self.bundle, self.runtime)
        windows = WindowPredictor(self.source.reader(pixels, first), predictor, self.stretch)
        return predict_and_stitch(self.stitcher, self.encoding, self.tiles.batch, rows, windows)

    def join(self, above: tuple[UInt8, WindowOverlaps] | None, own: tuple[UInt8, WindowOverlaps]) -> UInt8:
        """The rows that rows of windows finish, with those that overlap the windows above."""
        stored, overlaps = own
        if overlaps.top is None:
            return stored
        assert above is not None
        assert above[1].bottom is not None
        return np.concatenate([self.encoding.encode(above[1].bottom + overlaps.top), stored], axis=1)

    def to_source(self, stored: UInt8, first: int, window: Window) -> UInt8:
        """Stored values on the array's own grid, from rows of the model's grid that begin with ``first``."""
        source = self.back.source_window(window).shift(-first, 0)
        return resampled(stored[:, *source.slices], self.back, window)

    def stored(self) -> Any:
        """Stored probabilities on the source's grid, uint8 (bands, height, width), lazy where it is."""
        pixels = self.source.pixels
        if isinstance(pixels, da.Array):
            sampled = [pixels[:, rows] for rows in self.source.sampled_rows()]
            return self.tasks(pixels, dask.delayed(self.examine, pure=False)(sampled))
        self.judge(self.source.sample())
        whole = da.from_array(np.asarray(pixels), chunks=-1, name=False)
        return self.tasks(whole, None).compute(scheduler="synchronous")

    def tasks(self, pixels: da.Array, examined: Any) -> da.Array:
        """The same as tasks that wait for ``examined``; nothing is computed."""
        pieces: list[da.Array] = []
        above: Any = None
        for rows in self.tiles.window_rows:
            read = self.rows_read(rows)
            first, stop = self.stitcher.overlap_above(rows.first)[0], self.stitcher.finished_rows(rows)[1]
            own = dask.delayed(self.predict, pure=False)(pixels[:, read], read.start, rows, examined)
            joined = dask.delayed(self.join, pure=False)(above, own)
            if stop > first:
                shape = (self.encoding.count, stop - first, self.source.grid.width)
                pieces.append(da.from_delayed(joined, shape, np.uint8))
            above = own
        stored = da.concatenate(pieces, axis=1)
        if self.back.identity:
            return stored
        step = max(1, self.source.box.height // len(self.tiles.window_rows))
        blocks = []
        for window in row_windows(self.source.box.shape, step):
            source = self.back.source_window(window)
            block = dask.delayed(self.to_source, pure=False)(
                stored[:, source.row : source.row_stop], source.row, window
            )
            blocks.append(da.from_delayed(block, (stored.shape[0], *window.shape), np.uint8))
        return da.concatenate(blocks, axis=1)


def _dataset(
    array: xr.DataArray, transform: Affine, stored: Any, encoding: ProbabilityEncoding, names: list[str]
) -> xr.Dataset:
    y, x = array.dims[1:]
    coords = {name: c for name, c in array.coords.items() if set(c.dims) <= {y, x}}
    if isinstance(stored, da.Array):
        classes = stored.map_blocks(encoding.classify, drop_axis=0, meta=np.empty((0, 0), np.uint8))
        probability = stored.map_blocks(_probability, meta=np.empty((0, 0, 0), np.float32))
    else:
        classes, probability = encoding.classify(stored), _probability(stored)
    count, nan = len(encoding.class_ids), {"_FillValue": np.nan}
    variables = {
        "classes": ((y, x), classes, {"_FillValue": NODATA}),
        "probability": (("class", y, x), probability[:count], nan),
    }
    if encoding.border:
        variables[BORDER_NAME] = ((y, x), probability[count], nan)
    out = xr.Dataset(variables, coords={**coords, "class": [names[i] for i in encoding.class_ids]})
    placed: xr.Dataset = out.rio.write_crs(array.rio.crs).rio.write_transform(transform)
    return placed


def _probability(stored: UInt8) -> Float32:
    return np.where(stored == NODATA, np.float32(np.nan), stored / np.float32(SCALE)).astype(np.float32)
