"""Rasters of probabilities or class ids, whoever made them, as the store that polygons are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pyproj.exceptions import CRSError, ProjError

from geoseg.config.stac.refs import BandRef, MaskRef, SceneRef, Trust
from geoseg.errors import GridError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import ground_resolution
from geoseg.io.raster.dates import parse_moment
from geoseg.io.raster.gdal import GDAL_ERRORS, environment, open_raster, reason, refusal
from geoseg.io.raster.header import Header, read_header
from geoseg.io.raster.maps import BORDER_TAG, TOP_BAND
from geoseg.io.raster.scene import Scene

__all__ = ["MOST_CLASSES", "Kind", "ScoreRaster", "describe_scores"]

Kind = Literal["probability", "classes"]
MOST_CLASSES: Final = 255
"""Classes that a store tells apart, 0 to 254."""


@dataclass(frozen=True, slots=True)
class ScoreRaster:
    """A raster of scores: what its header says."""

    scene: Scene
    """Its grid and bands; its id is the file's stem."""
    kind: Kind
    """What its values are."""
    names: tuple[str, ...]
    """Description of each band, empty where it has none."""
    block: tuple[int, int]
    """Rows and columns of a block of the file."""
    border: bool = False
    """Whether it has two bands that a run wrote: its only class, and the border between objects of it."""
    colors: Mapping[int, str] = field(default_factory=dict)
    """Value → ``#rrggbb``, from its color table."""

    @property
    def href(self) -> str:
        """Its path."""
        return self.scene.bands[0].href


def describe_scores(
    path: Path,
    kind: Literal["auto"] | Kind = "auto",
    trust: Trust = "catalog",
    mask: Path | None = None,
) -> ScoreRaster:
    """Look at a raster's header; no pixel is read.

    Args:
        path: one or more bands of probabilities (floats, or whole numbers with a scale), or one of class ids.
        kind: what the values are; auto: class ids where they are whole numbers without a scale.
        trust: what GDAL may open.
        mask: raster of the same grid whose first band is 0 where there is no data.

    Raises:
        SceneError: a file cannot be opened or has no place on the ground, the mask has another grid, or the
            file holds neither.
    """
    stem, href = path.stem, str(path.absolute())
    header = read_header(stem, href, trust)
    chosen = [index for index in range(1, header.count + 1) if index not in header.alpha]
    found = _kind(stem, header, chosen, kind)
    names, colors, block, acquired, border = _details(stem, href, trust, chosen)
    if found == "probability" and names == (TOP_BAND,):
        raise refusal(
            stem,
            href,
            "holds the probability of whichever class won, not of one class: give classes.tif, or run with "
            "write.probability: classes",
        )
    try:
        resolution = ground_resolution(header.geobox)
    except (GridError, CRSError, ProjError) as error:
        raise refusal(
            stem, href, f"has pixels without a size on the ground ({error}): assign the right CRS"
        ) from error
    masked = None if mask is None else _mask(stem, mask, header, trust)
    mask_ref = None if masked is None else MaskRef(masked.href, 1, (0,))
    scene = Scene(
        ref=SceneRef(stem, (), href=href, acquired=acquired, trust=trust, mask=mask_ref),
        geobox=header.geobox,
        bands=tuple(BandRef(href, i, header.names[i - 1], *_scale(header, i, found)) for i in chosen),
        dtype=np.result_type(*(header.dtypes[i - 1] for i in chosen)).name,
        nodata=None,
        resolution=resolution,
        identity=f"0={header.stamp}" + (f";1={masked.stamp};mask=1:1" if masked else ""),
        files=(*header.files, *(masked.files if masked else ())),
    )
    return ScoreRaster(scene, found, names, block, border and found == "probability", colors)


def _mask(stem: str, path: Path, raster: Header, trust: Trust) -> Header:
    """The header of a mask, which has the raster's own grid."""
    header = read_header(stem, str(path.absolute()), trust)
    one, other = header.geobox, raster.geobox
    if one.shape != other.shape or not one.transform.almost_equals(other.transform) or one.crs != other.crs:
        raise refusal(
            stem,
            header.href,
            f"is the mask, on another grid than {raster.href}: {_told(one)}, needed {_told(other)}; warp it "
            "with gdalwarp",
        )
    return header


def _told(box: GeoBox) -> str:
    numbers = ", ".join(f"{value:.15g}" for value in box.transform[:6])
    return f"{box.height}×{box.width} px by ({numbers}) in {box.crs[:40]}"


def _is_unscaled(header: Header, chosen: list[int]) -> bool:
    """Whether bands hold whole numbers and nothing says what these are worth."""
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


def _kind(stem: str, header: Header, chosen: list[int], wanted: str) -> Kind:
    """What the values are, as far as a header tells."""
    if not chosen:
        raise refusal(stem, header.href, "has an alpha band only: give one with probabilities or class ids")
    dtypes = ", ".join(sorted({header.dtypes[i - 1] for i in chosen}))
    bands = f"{len(chosen)} band{'s' * (len(chosen) != 1)} of {dtypes}"
    unscaled = _is_unscaled(header, chosen) if "complex" not in dtypes else False
    why = None
    if "complex" in dtypes:
        why = f"has {bands}: convert them to probabilities"
    elif len(chosen) > MOST_CLASSES:
        why = f"has {bands}, one for each class: at most {MOST_CLASSES} are told apart"
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
        raise refusal(stem, header.href, why)
    return "classes" if wanted == "classes" or (wanted == "auto" and unscaled) else "probability"


def _details(
    stem: str, href: str, trust: Trust, chosen: list[int]
) -> tuple[tuple[str, ...], dict[int, str], tuple[int, int], str | None, bool]:
    """Band descriptions, color table, block, date, and whether the second of two bands is a border."""
    with environment(trust):
        try:
            with open_raster(stem, href, trust, pixels=False) as dataset:
                names = tuple(" ".join((dataset.descriptions[i - 1] or "").split()) for i in chosen)
                block = dataset.block_shapes[chosen[0] - 1]
                moment = parse_moment(str(dataset.tags().get("TIFFTAG_DATETIME", "")))
                colors = _colors(dataset, chosen[0])
                border = len(chosen) == 2 and dataset.tags().get(BORDER_TAG) == "2"  # noqa: PLR2004 - bands
        except GDAL_ERRORS as error:
            raise refusal(
                stem, href, f"has a header that cannot be read ({reason(error)}): fetch the file again"
            ) from error
    if moment is None:
        return names, colors, block, None, border
    taken, exact = moment
    return names, colors, block, f"{taken:%Y-%m-%dT%H:%M:%SZ}" if exact else f"{taken:%Y-%m-%d}", border


def _colors(dataset: Any, band: int) -> dict[int, str]:
    try:
        table = dataset.colormap(band)
    except ValueError:  # there is none
        return {}
    return {value: "#{:02x}{:02x}{:02x}".format(*rgba[:3]) for value, rgba in table.items()}
