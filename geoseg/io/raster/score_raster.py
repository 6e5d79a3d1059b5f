"""Rasters of probabilities or class ids, of any origin, encoded as polygons need them.

:func:`describe_scores` looks at a header; :class:`ScoreReader` streams the values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from geoseg.arrays import Bool, Float32, UInt8
from geoseg.config.stac.refs import BandRef, MaskRef, SceneRef, Trust
from geoseg.errors import SceneError, of_scene
from geoseg.grid.crs import equal_crs
from geoseg.grid.encoding import NODATA, SCALE
from geoseg.grid.geobox import GeoBox
from geoseg.grid.orientation import Orientation
from geoseg.grid.window import Window
from geoseg.io.crs import crs_doubts, crs_name
from geoseg.io.raster.bands import own_names
from geoseg.io.raster.dates import parse_moment, rfc3339
from geoseg.io.raster.gdal import open_header, refusal
from geoseg.io.raster.header import Header, read_header
from geoseg.io.raster.maps import BORDER_TAG, TOP_BAND
from geoseg.io.raster.reader import Raster, Reader
from geoseg.io.raster.scene import Scene, pixel_size
from geoseg.io.raster.scene_reader import SceneReader
from geoseg.io.raster.validity import Nodata
from geoseg.words import counted

__all__ = ["MOST_CLASSES", "AnyKind", "Kind", "ScoreRaster", "ScoreReader", "describe_scores"]

Kind = Literal["probability", "classes"]
AnyKind = Literal["auto", Kind]
MOST_CLASSES: Final = 255
"""Classes that can be encoded, 0 to 254."""
_MOST_GUESSED: Final = 32
"""Most classes of whole numbers that nothing calls classes; more may as well be probabilities."""
_STEPS: Final = (1, 100, SCALE)
"""What stands for 1 in unscaled bytes that end below 255: in a mask, in per cent, in geoseg's own steps."""
_BEYOND: Final = 1e-6
"""How far a probability may be outside 0 to 1: what float32 makes of 1."""
_LARGEST_ID: Final = 1 << 24
"""From here on float32, in which pixels are read, does not hold every whole number."""
_PIECE: Final = 1 << 20
"""Values that are decoded at a time, or those of one block."""
_CHUNK_BYTES: Final = 1 << 27
"""Stored values of the block rows that are held at a time, at most."""
_NO_PROBABILITY: Final = (
    "and a probability lies in 0 to 1: scale it (gdal_edit.py -scale), declare the value nodata "
    "(gdal_edit.py -a_nodata), or read class ids with --as classes"
)
_NO_ID: Final = (
    f"and class ids are whole numbers below {_LARGEST_ID:,}: read probabilities with --as probability"
)
_MANY_BYTES: Final = (
    f"holds more than {MOST_CLASSES} different values, which are hardly class ids: read bytes as "
    "probabilities with --as probability"
)
_MANY_IDS: Final = (
    f"holds more than {MOST_CLASSES} different whole numbers: ids of objects, it seems, a number for each, "
    "and here classes are outlined. gdal_polygonize.py makes a polygon per id; for clean outlines give the "
    "mask of all (gdal_calc.py --calc='A>0' --type=Byte) to geoseg vectorize --set vectorize.mode=objects"
)


@dataclass(frozen=True, slots=True)
class ScoreRaster:
    """The header of a raster of scores."""

    scene: Scene
    """Its grid and bands; its id is the file's stem."""
    kind: Kind
    names: tuple[str, ...]
    """Description of each band, empty where it has none."""
    block: tuple[int, int]
    """Rows and columns of a block of the file."""
    border: bool = False
    """Whether it has two bands that a run wrote: its only class, and the border between objects of it."""
    colors: Mapping[int, str] = field(default_factory=dict)
    """Value → ``#rrggbb``, from its color table."""
    guessed: bool = False
    """Whether whole numbers are taken for class ids though neither the caller nor a color table says so."""
    unscaled: bool = False
    """Whether whole numbers that state no scale are read as value/255."""

    @property
    def href(self) -> str:
        """Its path."""
        return self.scene.bands[0].href


def describe_scores(
    path: Path, kind: AnyKind = "auto", trust: Trust = "catalog", mask: Path | None = None
) -> ScoreRaster:
    """Look at a raster's header; no pixel is read.

    Args:
        path: one or more bands of probabilities (floats, or whole numbers with a scale), or one of class ids.
        kind: what the values are; auto: class ids where they are whole numbers without a scale.
        mask: raster of the same grid whose first band is 0 where there is no data.

    Raises:
        SceneError: a file cannot be opened or has no place on the ground, the mask has another grid, or the
            file holds neither.
    """
    with of_scene(path.stem):
        return _described(path, kind, trust, mask)


def _described(path: Path, kind: AnyKind, trust: Trust, mask: Path | None) -> ScoreRaster:
    href = str(path.absolute())
    header = read_header(href, trust)
    chosen = [index for index in range(1, header.count + 1) if index not in header.alpha]
    found = _kind(header, chosen, kind)
    names, colors, block, acquired, border = _details(href, trust, chosen)
    if found == "probability" and names == (TOP_BAND,):
        raise refusal(
            href,
            "holds the probability of the mapped class, not of one class: give classes.tif, or run with "
            "write.probability: classes",
        )
    masked = None if mask is None else _mask(mask, header, trust)
    masks = () if masked is None else (MaskRef(masked.href, 1, (0,)),)
    own = own_names(header)
    bands = tuple(BandRef(href, i, own[i - 1], *_scale(header, i, found)) for i in chosen)
    dtypes = [header.dtypes[i - 1] for i in chosen]
    values = [header.nodata[i - 1] for i in chosen]
    scene = Scene(
        ref=SceneRef(path.stem, (), href=href, acquired=acquired, trust=trust, masks=masks),
        geobox=Orientation.of(header.geobox).grid,
        stored=header.geobox,
        bands=bands,
        dtype=np.result_type(*dtypes).name,
        nodata=Nodata.of_scores(dtypes, values, [(band.scale, band.offset) for band in bands]),
        resolution=pixel_size(href, header.geobox),
        identity=f"0={header.stamp}" + (f";1={masked.stamp};mask=1:1" if masked else ""),
        alpha=tuple((href, index) for index in sorted(header.alpha)[:1]),
        files=(*header.files, *(masked.files if masked else ())),
        warnings=crs_doubts(header.geobox),
    )
    return ScoreRaster(
        scene,
        found,
        names,
        block,
        border and found == "probability",
        colors,
        guessed=kind == "auto" and found == "classes" and not colors,
        unscaled=found == "probability" and _is_unscaled(header, chosen),
    )


def _mask(path: Path, raster: Header, trust: Trust) -> Header:
    """The header of a mask, which has the raster's own grid."""
    header = read_header(str(path.absolute()), trust)
    one, other = (Orientation.of(found.geobox).grid for found in (header, raster))
    if (
        one.shape != other.shape
        or not one.transform.almost_equals(other.transform)
        or not equal_crs(one.crs, other.crs)
    ):
        raise refusal(
            header.href,
            f"is the mask, on another grid than {raster.href}: {_as_text(one)}, needed {_as_text(other)}; "
            "warp it with gdalwarp",
        )
    return header


def _as_text(box: GeoBox) -> str:
    numbers = ", ".join(f"{value:.15g}" for value in box.transform[:6])
    return f"{box.height}×{box.width} px by ({numbers}) in {crs_name(box.crs)}"


def _is_unscaled(header: Header, chosen: list[int]) -> bool:
    """Whether bands hold whole numbers and nothing states what these are worth."""
    return any(
        np.dtype(header.dtypes[i - 1]).kind != "f"
        and header.scales[i - 1] == 1
        and header.offsets[i - 1] == 0
        for i in chosen
    )


def _scale(header: Header, index: int, kind: Kind) -> tuple[float, float]:
    """Scale and offset of a band; ids have none, and bytes that state none are in steps of 1/255."""
    if kind == "classes":
        return 1.0, 0.0
    if _is_unscaled(header, [index]):
        return 1 / 255, 0.0
    return header.scales[index - 1], header.offsets[index - 1]


def _kind(header: Header, chosen: list[int], wanted: AnyKind) -> Kind:
    if not chosen:
        raise refusal(header.href, "has an alpha band only: give one with probabilities or class ids")
    dtypes = ", ".join(sorted({header.dtypes[i - 1] for i in chosen}))
    bands = f"{counted(len(chosen), 'band')} of {dtypes}"
    unscaled = "complex" not in dtypes and _is_unscaled(header, chosen)
    why = None
    if "complex" in dtypes:
        why = f"has {bands}: convert them to probabilities"
    elif len(chosen) > MOST_CLASSES:
        why = f"has {bands}, one for each class: at most {MOST_CLASSES} can be encoded"
    elif wanted == "classes" and len(chosen) > 1:
        why = f"has {bands}, and class ids are one band: extract it with gdal_translate -b"
    elif wanted == "probability" and unscaled and dtypes != "uint8":
        why = f"has {bands} without a scale: set what one step is worth with gdal_edit.py -scale"
    elif wanted == "auto" and unscaled and len(chosen) > 1:
        why = (
            f"has {bands} without a scale, neither class ids (one band) nor probabilities: read bytes as "
            "value/255 with --as probability, or set what one step is worth with gdal_edit.py -scale"
        )
    if why is not None:
        raise refusal(header.href, why)
    return "classes" if wanted == "classes" or (wanted == "auto" and unscaled) else "probability"


def _which(raster: ScoreRaster, values: int) -> str:
    """Why whole numbers are not taken for class ids, and what to type."""
    what = f"holds {values} different whole numbers"
    if raster.scene.ref.href is None:
        return (
            f"{what}, class ids or probabilities: give probabilities as floats in 0 to 1 (array / 255), "
            'or kind="classes"'
        )
    probability = (
        "--as probability (value/255)"
        if raster.scene.dtype == "uint8"
        else "gdal_edit.py -scale (what one step of a probability is worth)"
    )
    return (
        f"{what} without a color table, class ids or probabilities: say which with {probability} or "
        "--as classes (in Python: kind); --class ID=NAME or a color table make them class ids, too"
    )


def _details(
    href: str, trust: Trust, chosen: list[int]
) -> tuple[tuple[str, ...], dict[int, str], tuple[int, int], str | None, bool]:
    """Band descriptions, color table, block, date, and whether the second of two bands is a border."""
    with open_header(href, trust) as dataset:
        names = tuple(" ".join((dataset.descriptions[i - 1] or "").split()) for i in chosen)
        block = dataset.block_shapes[chosen[0] - 1]
        moment = parse_moment(str(dataset.tags().get("TIFFTAG_DATETIME", "")))
        colors = _colors(dataset, chosen[0])
        border = len(chosen) == 2 and dataset.tags().get(BORDER_TAG) == "2"  # noqa: PLR2004 - bands
    if moment is None:
        return names, colors, block, None, border
    taken, exact = moment
    return names, colors, block, rfc3339(taken) if exact else f"{taken:%Y-%m-%d}", border


def _colors(dataset: DatasetReader, band: int) -> dict[int, str]:
    try:
        table = dataset.colormap(band)
    except ValueError:  # there is none
        return {}
    return {value: "#{:02x}{:02x}{:02x}".format(*rgba[:3]) for value, rgba in table.items()}


class ScoreReader:
    """Reads a raster of scores from the top, each block once; a context manager.

    Args:
        pixels: most pixels of a strip, though at least a row.
        reader: where the pixels come from; None: from the raster's file.
    """

    def __init__(self, raster: ScoreRaster, pixels: int, reader: Reader | None = None) -> None:
        self.raster = raster
        self._files = ExitStack()
        if reader is None:
            reader = self._files.enter_context(SceneReader(raster.scene))
        self._reader = reader
        self._largest = 0.0
        self._rows = max(1, pixels // raster.scene.geobox.width)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def probabilities(self) -> Iterator[UInt8]:
        """Stored probabilities, uint8 (bands, rows, width): ``round(200 p)``, 255 where there is no data."""
        return self._strips(self._stored, len(self.raster.scene.bands))

    def class_ids(self, known: NDArray[np.int32]) -> Iterator[UInt8]:
        """Class ids by their place among those known, uint8 (1, rows, width); 255 where there is no data.

        ``known`` are int32 ids, rising, at most 255; every id of the raster is among them.
        """

        def place(raster: Raster, window: Window) -> UInt8:
            places = np.searchsorted(known, self._ids(raster, window)).astype(np.uint8)
            places[~raster.valid] = NODATA
            return places[None]

        return self._strips(place, 1)

    def check_probabilities(self) -> tuple[str, ...]:
        """Read everything once, so that what cannot be vectorized is refused before any work.

        Returns:
            What its user should know of the values: bytes without a scale that hardly are steps of 1/255.
        """
        has_data = False
        for strip in self.probabilities():
            has_data |= bool((strip[0] != NODATA).any())
        if not has_data:
            raise self._no_data()
        largest = round(255 * self._largest)
        if not self.raster.unscaled or largest > max(_STEPS):
            return ()
        one = min(steps for steps in _STEPS if steps >= largest)
        doubt = (
            f"has no scale, and its largest value is {largest}: read as value/255, its largest probability "
            f"is {largest / 255:.3g}; where {one} stands for 1, set the scale with gdal_edit.py -scale "
            f"{1 / one:.6g}"
        )
        return (doubt,)

    def found_ids(self, *, named: bool = False) -> NDArray[np.int32]:
        """The class ids of the raster, rising, int32 (n,); everything is read once.

        Args:
            named: the caller names classes, so that the values are ids.

        Raises:
            SceneError: as :meth:`class_ids`, no pixel has data, there are more than 255 classes, or more than
                32 values that nothing calls classes.
        """
        found: set[int] = set()

        def gather(raster: Raster, window: Window) -> UInt8:
            found.update(np.unique(self._ids(raster, window)[raster.valid]).tolist())
            if len(found) > MOST_CLASSES:
                raise self._refusal(_MANY_BYTES if self.raster.scene.dtype == "uint8" else _MANY_IDS)
            return np.zeros((0, *window.shape), np.uint8)

        for _ in self._strips(gather, 0):
            pass
        if not found:
            raise self._no_data()
        if len(found) > _MOST_GUESSED and self.raster.guessed and not named:
            raise self._refusal(_which(self.raster, len(found)))
        return np.array(sorted(found), np.int32)

    def _strips(self, convert: Callable[[Raster, Window], UInt8], bands: int) -> Iterator[UInt8]:
        """Strips of converted pixels, read in whole rows of blocks where these are not too large."""
        height, width = self.raster.scene.geobox.shape
        down, across = self.raster.block
        tall = max(down, self._rows // down * down)
        tall = max(1, min(tall, _CHUNK_BYTES // (max(1, bands) * width)))
        wide = max(1, _PIECE // (len(self.raster.scene.bands) * tall))
        wide = min(width, max(across, wide // across * across))
        for first in range(0, height, tall):
            rows = min(tall, height - first)
            chunk = np.empty((bands, rows, width), np.uint8)
            for left in range(0, width, wide):
                window = Window(first, left, rows, min(wide, width - left))
                chunk[:, :, left : left + window.width] = convert(self._reader.read(window), window)
            for row in range(0, rows, self._rows):
                yield chunk[:, row : row + self._rows]

    def _stored(self, raster: Raster, window: Window) -> UInt8:
        pixels, bands = raster.pixels, self.raster.scene.bands
        for band, values in zip(bands, pixels, strict=True):
            outside = raster.valid & ((values < -_BEYOND) | (values > 1 + _BEYOND))
            if outside.any():
                raise self._wrong(values, outside, window, band, _NO_PROBABILITY)
        np.clip(pixels, 0, 1, out=pixels)
        self._largest = max(self._largest, float(pixels.max(initial=0, where=raster.valid)))
        stored: UInt8 = np.rint(pixels * np.float32(SCALE)).astype(np.uint8)
        stored[:, ~raster.valid] = NODATA
        return stored

    def _ids(self, raster: Raster, window: Window) -> NDArray[np.int32]:
        (values,) = raster.pixels
        strange = raster.valid & ((values != np.rint(values)) | (np.abs(values) >= _LARGEST_ID))
        if strange.any():
            raise self._wrong(values, strange, window, self.raster.scene.bands[0], _NO_ID)
        ids: NDArray[np.int32] = values.astype(np.int32)
        return ids

    def _wrong(self, values: Float32, where: Bool, window: Window, band: BandRef, why: str) -> SceneError:
        row, col = (int(place[0]) for place in np.nonzero(where))
        pixel = Window(window.row + row, window.col + col, 1, 1)
        stored = Orientation.of(self.raster.scene.stored).window(pixel)
        return self._refusal(
            f"has the value {float(values[row, col]):.8g} in band {band.index} (row {stored.row}, "
            f"column {stored.col}), {why}"
        )

    def _no_data(self) -> SceneError:
        return self._refusal("has no pixel with data: give another file, or correct its nodata value or mask")

    def _refusal(self, text: str) -> SceneError:
        return refusal(self.raster.href, text, scene=self.raster.scene.ref.id)
