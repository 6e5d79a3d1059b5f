"""One picture, written in the ways in which people bring it: type, order of bands, files, masks, grid."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from affine import Affine
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.enums import ColorInterp
from synthetic.neighborhood import generate

from geoseg.arrays import Bool, UInt8

__all__ = ["CONTRADICTIONS", "PLACES", "Situation", "picture", "situations", "write"]

SIDE = 192
"""Height and width of the picture, in pixels."""
NAMES = ("red", "green", "blue")
INTERPRETATION = {"red": ColorInterp.red, "green": ColorInterp.green, "blue": ColorInterp.blue}
LOW, HIGH = 0.02, 0.53
"""Reflectance of the values 0 and 255 of the picture, where it is stored with scale and offset."""

Dtype = Literal["uint8", "int16", "uint16", "float32"]
Values = Literal["same", "scaled", "stretched"]
"""same: the picture's 0..255; scaled: reflectance by scale and offset; stretched: another range, as is."""
Mask = Literal["none", "nodata", "alpha", "internal", "asset", "nan"]
Contradiction = Literal[
    "none",
    "names repeat",
    "names are partial",
    "names against the catalog",
    "scale against the catalog",
    "values without a stretch",
    "no pixel is valid",
    "far too coarse",
    "all values beyond the stretch",
]
CONTRADICTIONS: dict[Contradiction, str] = {
    "names repeat": "scenes.bands",
    "names are partial": "scenes.bands",
    "names against the catalog": "scenes.bands",
    "scale against the catalog": "scale",
    "values without a stretch": "scenes.stretch",
    "no pixel is valid": "0 %",
    "far too coarse": "scenes.resolution",
    "all values beyond the stretch": "scenes.stretch",
}
"""What makes a situation wrong, and what the refusal has to name."""


def _in_degrees(west: float, north: float) -> Affine:
    size = 0.3 / 111_320
    return Affine(size / np.cos(np.radians(north)), 0, west, 0, -size, north)


def _in_units(crs: str, lon: float, lat: float, unit: float = 1.0, turned: float = 0.0) -> Affine:
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    place: Affine = Affine.translation(round(x), round(y)) @ Affine.rotation(turned)
    return place @ Affine.scale(0.3 / unit, -0.3 / unit)


HOME = "utm"
PLACES: dict[str, tuple[str, Affine]] = {
    HOME: ("EPSG:26914", _in_units("EPSG:26914", -97.74, 30.26)),
    "turned": ("EPSG:26914", _in_units("EPSG:26914", -97.74, 30.26, turned=23.0)),
    "feet": ("EPSG:2277", _in_units("EPSG:2277", -97.74, 30.26, unit=1200 / 3937)),
    "degrees": ("EPSG:4326", _in_degrees(-97.74, 30.26)),
    "web mercator": ("EPSG:3857", Affine.identity()),
    "national": ("EPSG:27700", _in_units("EPSG:27700", -1.5, 52.4)),
}
_MERCATOR = np.cos(np.radians(30.26))
PLACES["web mercator"] = ("EPSG:3857", _in_units("EPSG:3857", -97.74, 30.26, unit=float(_MERCATOR)))
"""CRS and transform: pixels of about 0.3 m on the ground."""


def picture() -> tuple[UInt8, Bool]:
    """The picture, uint8 (3, side, side) without a 0, and where it is to be valid where it is masked."""
    image = np.maximum(generate(size=(SIDE, SIDE), seed=5).image, 1)
    rows, cols = np.mgrid[:SIDE, :SIDE]
    return image, cols + 0.4 * rows > 60


@dataclass(frozen=True)
class Situation:
    """How the picture is written."""

    dtype: Dtype = "uint8"
    values: Values = "same"
    order: tuple[int, ...] = (0, 1, 2)
    naming: Literal["descriptions", "interpretation", "catalog"] = "interpretation"
    per_band: bool = False
    layout: tuple[str, int, str] = ("none", 0, "pixel")
    """Compression, side of tiles (0: strips), interleaving."""
    mask: Mask = "none"
    mirror: Literal["none", "rows", "columns"] = "none"
    place: str = HOME
    contradiction: Contradiction = "none"

    @property
    def lossless(self) -> bool:
        """Whether the network sees the very numbers of the picture."""
        return self.values == "same"


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """Any combination that makes sense."""
    values = draw(st.sampled_from(["same", "same", "scaled", "stretched"]))
    dtypes = {"same": ["uint8", "uint8", "int16", "uint16", "float32"], "scaled": ["int16", "uint16"]}
    dtype = draw(st.sampled_from(dtypes.get(values, ["uint16", "float32"])))
    masks = ["none", "nodata", "internal", "asset", *(["alpha"] if dtype in ("uint8", "uint16") else [])]
    per_band = draw(st.booleans())
    order = draw(st.permutations([0, 1, 2]))
    naming = "catalog" if per_band else draw(st.sampled_from(["descriptions", "interpretation", "catalog"]))
    mask = draw(st.sampled_from([*masks, *(["nan"] if dtype == "float32" else [])]))
    if per_band and mask == "alpha":
        mask = "internal"
    layout = (
        draw(st.sampled_from(["none", "deflate", "lzw", "zstd"])),
        draw(st.sampled_from([0, 16, 64, 256])),
        draw(st.sampled_from(["pixel", "band"])),
    )
    made = Situation(
        dtype=dtype,
        values=values,
        order=tuple(order),
        naming=naming,
        per_band=per_band,
        layout=layout,
        mask=mask,
        mirror=draw(st.sampled_from(["none", "none", "rows", "columns"])),
        place=draw(st.sampled_from([HOME, HOME, HOME, *PLACES])),
    )
    wrong = draw(st.sampled_from(["none", "none", "none", "none", *CONTRADICTIONS]))
    return replace(made, contradiction=wrong) if _possible(made, wrong) else made


def _possible(made: Situation, wrong: Contradiction) -> bool:
    if wrong in ("names repeat", "names are partial", "names against the catalog"):
        # GDAL calls three bands of bytes red, green, blue: where two of them are described so, all agree.
        agree = wrong == "names are partial" and made.dtype == "uint8" and made.order == (0, 1, 2)
        return not made.per_band and made.naming == "descriptions" and not agree
    if wrong == "scale against the catalog":
        return made.values == "scaled" and made.naming == "catalog"
    if wrong == "values without a stretch":
        return made.dtype != "uint8"
    if wrong == "all values beyond the stretch":
        return made.dtype in ("int16", "uint16")
    if wrong == "far too coarse":
        return made.place == HOME
    return True


def _stored(image: UInt8, made: Situation) -> tuple[NDArray[Any], float, float, list[float] | None]:
    """Stored values, scale, offset, and the stretch that makes 0..255 of them again."""
    if made.values == "same":
        return image.astype(made.dtype), 1.0, 0.0, None if made.dtype == "uint8" else [0, 255]
    if made.values == "stretched":
        return (image.astype(np.float64) * 37 + 200).astype(made.dtype), 1.0, 0.0, [200, 200 + 37 * 255]
    scale, offset = 2e-5, -0.1
    reflectance = LOW + image / 255 * (HIGH - LOW)
    stored = np.rint((reflectance - offset) / scale)
    if made.dtype == "int16":
        stored -= 20_000
        offset = 20_000 * scale + offset
    return stored.astype(made.dtype), scale, offset, [LOW, HIGH]


def write(folder: Path, made: Situation) -> dict[str, Any]:
    """Write the picture, its catalog and masks; returns the workflow's settings by dotted key."""
    image, valid = picture()
    stored, scale, offset, stretch = _stored(image, made)
    if made.contradiction == "no pixel is valid":
        valid = np.zeros_like(valid)
        made = replace(made, mask="nodata" if made.mask == "none" else made.mask)
    nodata = {"uint8": 0, "int16": -9999, "uint16": 0, "float32": -9999}[made.dtype]
    stored = _hidden(stored, valid, made.mask, nodata)
    stored, valid, transform = _mirrored(stored, valid, made)
    profile: dict[str, Any] = {"crs": PLACES[made.place][0], "transform": transform, "dtype": made.dtype}
    profile |= {"nodata": nodata} if made.mask == "nodata" else {}
    encoding = (scale, offset) if made.values == "scaled" else None
    assets = _write_files(folder, made, stored[list(made.order)], valid, profile=profile, encoding=encoding)
    if made.mask == "asset":
        _save(folder / "qa.tif", np.where(valid, 4, 9).astype(np.uint8)[None], profile | {"dtype": "uint8"})
        assets["qa"] = {"href": "./qa.tif", "type": "image/tiff", "roles": ["mask"], "geoseg:invalid": [9]}
    _write_catalog(folder / "catalog.json", assets)
    settings: dict[str, Any] = {"catalog": str(folder / "catalog.json")}
    if made.contradiction == "all values beyond the stretch":
        settings["scenes.stretch"] = [0, 1e-6] if made.values == "scaled" else [0, 0.5]
    elif stretch is not None and made.contradiction != "values without a stretch":
        settings["scenes.stretch"] = stretch
    return settings


def _hidden(stored: NDArray[Any], valid: Bool, mask: Mask, nodata: int) -> NDArray[Any]:
    """What lies under a mask: nodata, NaN, or values that nobody should see."""
    if mask == "none":
        return stored
    under: Any = np.random.default_rng(1).integers(1, 255, stored.shape)
    if mask in ("nodata", "nan"):
        under = nodata if mask == "nodata" else np.nan
    return np.where(valid, stored, np.asarray(under, stored.dtype)).astype(stored.dtype)


def _mirrored(stored: NDArray[Any], valid: Bool, made: Situation) -> tuple[NDArray[Any], Bool, Affine]:
    """Pixels, mask and transform as the situation stores them: the same ground."""
    transform = PLACES[made.place][1]
    if made.contradiction == "far too coarse":
        transform = transform @ Affine.scale(20)
    if made.mirror == "rows":
        return stored[:, ::-1], valid[::-1], transform @ Affine(1, 0, 0, 0, -1, SIDE)
    if made.mirror == "columns":
        return stored[:, :, ::-1], valid[:, ::-1], transform @ Affine(-1, 0, SIDE, 0, 1, 0)
    return stored, valid, transform


def _write_files(
    folder: Path,
    made: Situation,
    bands: NDArray[Any],
    valid: Bool,
    *,
    profile: Mapping[str, Any],
    encoding: tuple[float, float] | None,
) -> dict[str, Any]:
    """Write one file, or one per band; returns the assets, with what the catalog says of the bands."""
    names = [NAMES[i] for i in made.order]
    if made.contradiction in ("names repeat", "names are partial"):
        names[1] = names[0] if made.contradiction == "names repeat" else ""
    in_catalog = made.naming == "catalog" or made.contradiction == "names against the catalog"
    in_file = made.naming != "catalog" or made.contradiction == "scale against the catalog"
    assets: dict[str, Any] = {}
    for positions in [[0], [1], [2]] if made.per_band else [[0, 1, 2]]:
        shown = [names[i] for i in positions]
        stem = shown[0] if made.per_band else "all"
        _write_file(
            folder / f"{stem}.tif",
            bands[positions],
            made,
            names=shown,
            profile=profile,
            valid=valid,
            scales=encoding if in_file else None,
        )
        assets[stem] = {"href": f"./{stem}.tif", "type": "image/tiff", "roles": ["data"]}
        if in_catalog:
            told = shown[::-1] if made.contradiction == "names against the catalog" else shown
            assets[stem]["bands"] = [_told(name, encoding, made) for name in told]
    return assets


def _told(name: str, encoding: tuple[float, float] | None, made: Situation) -> dict[str, Any]:
    """What the catalog says of a band."""
    band: dict[str, Any] = {"name": name, "eo:common_name": name}
    if encoding is not None:
        factor = 3 if made.contradiction == "scale against the catalog" else 1
        band |= {"raster:scale": encoding[0] * factor, "raster:offset": encoding[1]}
    return band


def _write_file(
    path: Path,
    bands: NDArray[Any],
    made: Situation,
    *,
    names: list[str],
    profile: Mapping[str, Any],
    valid: Bool,
    scales: tuple[float, float] | None,
) -> None:
    compress, tile, interleave = made.layout
    options = dict(profile) | {"interleave": interleave, "compress": compress}
    options |= {"tiled": True, "blockxsize": tile, "blockysize": tile} if tile else {"blockysize": 8}
    by_color = made.naming == "interpretation" and len(names) > 1
    if by_color:
        options["photometric"] = "RGB" if names == list(NAMES) else "MINISBLACK"
    alpha = made.mask == "alpha"
    if alpha:
        opaque = np.where(valid, np.iinfo(bands.dtype).max, 0).astype(bands.dtype)
        bands = np.concatenate([bands, opaque[None]])
        options["alpha"] = "unspecified"
    _save(
        path,
        bands,
        options,
        names=names if made.naming == "descriptions" else [],
        colors=[*(INTERPRETATION[name] for name in names), *([ColorInterp.alpha] if alpha else [])]
        if by_color
        else None,
        alpha=len(bands) if alpha else None,
        mask=valid if made.mask == "internal" else None,
        scales=scales,
    )


def _save(
    path: Path,
    bands: NDArray[Any],
    profile: Mapping[str, Any],
    *,
    names: list[str] | None = None,
    colors: list[ColorInterp] | None = None,
    alpha: int | None = None,
    mask: Bool | None = None,
    scales: tuple[float, float] | None = None,
) -> None:
    shape = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", driver="GTiff", **{**profile, **shape}) as out,
    ):
        if colors is not None:
            out.colorinterp = colors
        elif alpha is not None:
            out.colorinterp = [*out.colorinterp[: alpha - 1], ColorInterp.alpha]
        out.write(bands)
        for index, name in enumerate(names or (), start=1):
            if name:
                out.set_band_description(index, name)
        if scales is not None:
            out.scales, out.offsets = (scales[0],) * len(bands), (scales[1],) * len(bands)
        if mask is not None:
            out.write_mask(mask)


def _write_catalog(path: Path, assets: Mapping[str, Any]) -> None:
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "scene",
        "geometry": None,
        "properties": {"datetime": "2026-03-01T10:00:00Z"},
        "links": [],
        "assets": dict(assets),
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [item]}), encoding="utf-8")
