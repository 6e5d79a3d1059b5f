"""The header of one raster file, and the refusals that need no pixel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyproj.exceptions import CRSError
from rasterio.enums import ColorInterp, Interleaving
from rasterio.io import DatasetReader

from geoseg.arrays import UInt8
from geoseg.config.band_names import (
    is_measurement,
    micrometers,
)
from geoseg.config.stac.refs import Trust
from geoseg.errors import GridError
from geoseg.grid.geobox import GeoBox
from geoseg.io.crs import crs_of
from geoseg.io.raster.collar import lossy_tolerance
from geoseg.io.raster.gdal import GDAL_ERRORS, has_geokeys, open_header, reason, refusal

__all__ = ["Header", "color_table", "file_stamp", "read_header"]

_MAX_BLOCK_BYTES = 256_000_000
"""One read decodes at least one block: a single 40,000 px tile took 1.6 GB for a window of 256 px."""
_MAX_BANDS = 1024
_MAX_PIXELS = 1 << 37
_MAX_BLOCKS_CHECKED = 20_000

_NAMING_INTERPRETATIONS = frozenset({"red", "green", "blue", "nir", "coastal", "rededge", "pan"})
"""Color interpretations that name a band; gray, palette, undefined and the rest say nothing."""
_WAVELENGTH_TAGS = ("CENTRAL_WAVELENGTH_UM", "center_wavelength", "central_wavelength", "wavelength")


@dataclass(frozen=True, slots=True)
class Header:
    """One raster file, without its pixels."""

    href: str
    geobox: GeoBox
    dtypes: tuple[str, ...]
    """numpy name per band."""
    descriptions: tuple[str, ...]
    """As written; empty where there is none."""
    colors: tuple[str | None, ...]
    """Common name that the color interpretation gives each band; None: gray, palette, undefined and so on."""
    wavelengths: tuple[float | None, ...]
    """Center of each band in µm, where its tags state one."""
    nodata: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    alpha: frozenset[int]
    """Numbers of the bands, from 1, that the file calls alpha and nothing else."""
    palette: frozenset[int]
    """Numbers of the bands that hold indices into a color table."""
    white: int | None
    """The largest value, where the file calls 0 white (TIFF's photometric WhiteIsZero); None: 0 is black."""
    tolerance: tuple[float, ...]
    """How far compression may have moved nodata, per band: :mod:`geoseg.io.raster.collar`; 0: lossless."""
    files: tuple[str, ...]
    """Everything that GDAL opened: the file itself, then side files and mosaic members of trusted files."""
    stamp: str
    """Size and modification time of all of it."""
    tags: Mapping[str, str]
    """Of the file as a whole, those of GDAL's domain IMAGERY included."""
    is_cog: bool
    """Whether GDAL calls it a Cloud Optimized GeoTIFF."""

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.dtypes)


def file_stamp(files: Iterable[str]) -> str:
    """``size:mtime_ns`` of each file, joined by ``+``."""
    stats = [Path(file).stat() for file in files]
    return "+".join(f"{stat.st_size}:{stat.st_mtime_ns}" for stat in stats)


def _alpha_bands(dataset: DatasetReader, wavelengths: Sequence[float | None]) -> frozenset[int]:
    """Numbers of the bands, from 1, whose color interpretation is alpha.

    Without those that are described as a measurement or have a wavelength: GDAL takes the fourth band of many
    a file for alpha.
    """
    return frozenset(
        i
        for i in _bands_of(dataset, ColorInterp.alpha)
        if not is_measurement(dataset.descriptions[i - 1]) and wavelengths[i - 1] is None
    )


def color_table(dataset: DatasetReader, index: int) -> UInt8:
    """The color table of a band: uint8 (values, 4), RGBA; transparent where the table has no entry."""
    entries = dataset.colormap(index)
    table = np.zeros((max(entries) + 1, 4), np.uint8)
    for value, color in entries.items():
        table[value] = color
    return table


def _bands_of(dataset: DatasetReader, wanted: ColorInterp) -> frozenset[int]:
    return frozenset(i for i, kind in enumerate(dataset.colorinterp, 1) if kind == wanted)


def read_header(href: str, trust: Trust) -> Header:
    """Open a file, look at its header, close it.

    Raises:
        SceneError: the file cannot be opened (see :func:`geoseg.io.raster.gdal.open_raster`), has no usable
            georeference, is truncated, or declares a size or a block that would exhaust memory.
    """
    with open_header(href, trust) as dataset:
        _check_size(href, dataset)
        _check_blocks(href, dataset)
        _check_end(href, dataset)
        geobox = _geobox(href, dataset, trust)  # first: a CRS that PROJ rejects is named as such
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        wavelengths, colors = _wavelengths(dataset), _colors(dataset)
        alpha = _alpha_bands(dataset, wavelengths)
        return Header(
            href=href,
            geobox=geobox,
            dtypes=tuple(dataset.dtypes),
            descriptions=tuple(description or "" for description in dataset.descriptions),
            colors=colors,
            wavelengths=wavelengths,
            nodata=tuple(dataset.nodatavals),
            scales=tuple(map(float, dataset.scales)),
            offsets=tuple(map(float, dataset.offsets)),
            alpha=alpha,
            palette=_bands_of(dataset, ColorInterp.palette),
            white=_white(href, dataset, structure),
            tolerance=tuple(
                0.0
                if dtype.startswith("complex")
                else lossy_tolerance(structure, dtype, _bits(dataset, number))
                for number, dtype in enumerate(dataset.dtypes, 1)
            ),
            files=tuple(dataset.files),
            stamp=file_stamp(dataset.files),
            tags={**dataset.tags(), **dataset.tags(ns="IMAGERY")},
            is_cog=structure.get("LAYOUT") == "COG",
        )


def _white(href: str, dataset: DatasetReader, structure: Mapping[str, str]) -> int | None:
    """GDAL tells that 0 is white but reads the values as they are; of 1 bit, it makes a color table."""
    if structure.get("MINISWHITE") != "YES" or _bands_of(dataset, ColorInterp.palette):
        return None
    dtype = np.dtype(dataset.dtypes[0])
    if dtype.kind != "u":
        raise refusal(
            href,
            f"calls 0 white (photometric MINISWHITE) and holds {dtype}, which has no black: invert it with "
            "gdal_calc.py and write it as MINISBLACK",
        )
    return (1 << _bits(dataset, 1)) - 1


def _bits(dataset: DatasetReader, number: int) -> int:
    """Bits of a value of a band, fewer than its type has where the file says so (12 in ``uint16``)."""
    stored = dataset.tags(number, ns="IMAGE_STRUCTURE").get("NBITS")
    return int(stored or 8 * np.dtype(dataset.dtypes[number - 1]).itemsize)


def _check_size(href: str, dataset: DatasetReader) -> None:
    if dataset.count < 1:
        raise refusal(href, "holds no bands but sub-datasets or nothing: extract one with gdal_translate")
    if dataset.count > _MAX_BANDS:
        raise refusal(href, f"declares {dataset.count} bands, more than {_MAX_BANDS}: extract those needed")
    if dataset.width * dataset.height > _MAX_PIXELS:
        size = f"{dataset.height}×{dataset.width}"
        raise refusal(href, f"declares {size} pixels, more than {_MAX_PIXELS:.0e}: cut it")


def _check_blocks(href: str, dataset: DatasetReader) -> None:
    together = dataset.count if dataset.interleaving == Interleaving.pixel else 1
    for (height, width), dtype in zip(dataset.block_shapes, dataset.dtypes, strict=True):
        # GDAL's name for complex integers is none that numpy knows; such bands are refused by name.
        itemsize = 8 if dtype.startswith("complex_") else np.dtype(dtype).itemsize
        size = height * width * itemsize * together
        if size > _MAX_BLOCK_BYTES:
            raise refusal(
                href,
                f"is stored in blocks of {height}×{width} pixels, {size / 1e6:.0f} MB each, more than"
                f" {_MAX_BLOCK_BYTES / 1e6:.0f} MB: tile it with gdal_translate -co TILED=YES",
            )


def _check_end(href: str, dataset: DatasetReader) -> None:
    """A GeoTIFF's block index shows whether the file was cut off, without reading a block."""
    if dataset.driver != "GTiff":
        return
    size = Path(href).stat().st_size
    height, width = dataset.block_shapes[0]
    down, across = math.ceil(dataset.height / height), math.ceil(dataset.width / width)
    planes = 1 if dataset.interleaving == Interleaving.pixel else dataset.count
    blocks = down * across * planes
    step = math.ceil(blocks / _MAX_BLOCKS_CHECKED)
    for block in (*range(0, blocks, step), blocks - 1):
        plane, place = divmod(block, down * across)
        row, col = divmod(place, across)
        offset, length = (
            int(dataset.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", plane + 1) or 0)
            for what in ("OFFSET", "SIZE")
        )
        if offset + length > size:
            raise refusal(
                href,
                f"is truncated: its pixels reach to byte {offset + length} but the file ends at {size}:"
                " fetch the file again",
            )


def _geobox(href: str, dataset: DatasetReader, trust: Trust) -> GeoBox:
    if dataset.transform.is_identity:
        if dataset.rpcs is not None:
            how = "is placed by RPC only (a camera model): orthorectify it with gdalwarp -rpc -t_srs EPSG:n"
        elif dataset.gcps[0]:
            points = len(dataset.gcps[0])
            how = f"is placed by {points} ground control points only: warp it with gdalwarp -t_srs EPSG:n"
        elif dataset.crs:
            how = "has a CRS but no transform: place it with gdal_translate -a_ullr"
        else:
            how = (
                "has no georeference, neither CRS nor transform: place it with gdal_translate -a_srs -a_ullr"
            )
        raise refusal(href, how + _side_file_hint(href, trust))
    if not dataset.crs:
        if has_geokeys(Path(href)):
            how = "has a CRS that PROJ cannot express: assign another with gdal_translate -a_srs EPSG:n"
        else:
            how = "has no CRS: assign it with gdal_translate -a_srs EPSG:n"
        raise refusal(href, how + _side_file_hint(href, trust))
    try:
        crs = crs_of(
            dataset.crs,
            lambda fault: refusal(href, f"{fault}: assign the right CRS with gdal_edit.py -a_srs EPSG:n"),
        )
        return GeoBox(dataset.height, dataset.width, dataset.transform, crs)
    except GridError as error:
        raise refusal(href, f"has no usable grid: {error}") from error
    except (CRSError, *GDAL_ERRORS) as error:
        raise refusal(
            href, f"has a CRS that PROJ cannot read ({reason(error)}): assign another with -a_srs EPSG:n"
        ) from error


def _side_file_hint(href: str, trust: Trust) -> str:
    if trust == "local":
        return ""
    path = Path(href)
    world_files = [path.with_suffix(suffix) for suffix in (".tfw", ".TFW", ".prj")]
    beside = (path.with_name(path.name + ".aux.xml"), *world_files)
    found = next((file.name for file in beside if file.exists()), None)
    return f"; {found} beside it is read only with scenes.trust: local (or --trust local)" if found else ""


def _colors(dataset: DatasetReader) -> tuple[str | None, ...]:
    return tuple(kind.name if kind.name in _NAMING_INTERPRETATIONS else None for kind in dataset.colorinterp)


def _wavelengths(dataset: DatasetReader) -> tuple[float | None, ...]:
    return tuple(
        _wavelength(dataset.tags(i) | dataset.tags(i, ns="IMAGERY")) for i in range(1, dataset.count + 1)
    )


def _wavelength(tags: dict[str, str]) -> float | None:
    """Center in µm, by GDAL's domain IMAGERY or by ENVI's words; None: none is stated as a number."""
    by_key = {key.lower(): value for key, value in tags.items()}
    for name in _WAVELENGTH_TAGS:
        center = micrometers(by_key.get(name.lower(), ""), by_key.get("wavelength_units", ""))
        if center is not None:
            return center
    return None
