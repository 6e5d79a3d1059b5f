"""What a catalog says of a scene: values only, nothing opened.

Every href is an absolute path; ``index`` is a band's number in its file, from 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "SHA256_MULTIHASH",
    "BandRef",
    "CollarRule",
    "LabelRef",
    "MaskBits",
    "MaskRef",
    "NodataRule",
    "SceneRef",
    "Snow",
    "StatedScale",
    "Trust",
]

NodataRule = Literal["auto", "any", "all"]
"""Whether nodata in any band or only in all makes a pixel invalid; see :mod:`geoseg.io.raster.validity`."""
Snow = Literal["valid", "invalid"]
"""Whether pixels are valid that a mask calls snow or ice."""
CollarRule = Literal["none", "auto"]
"""Whether what lossy compression made of nodata at its edges is invalid: :mod:`geoseg.io.raster.collar`."""
Trust = Literal["catalog", "local"]
StatedScale = Literal["auto", "catalog", "file", "none"]
"""Whose scale and offset count; auto: the only one that is stated, or both where they agree."""
SHA256_MULTIHASH = "1220"
"""How a ``file:checksum`` by SHA-256 begins: the function's code and the digest's length, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class BandRef:
    """One band of one file."""

    href: str
    index: int
    name: str
    """Common name (``red``, ``nir`` …), or the name the catalog gives, or ``b1`` …; lower case."""
    scale: float = 1.0
    """``raster:scale``: value = stored × scale + offset."""
    offset: float = 0.0
    checksum: str | None = None
    """``file:checksum`` (multihash, hexadecimal) of the file, where the catalog gives one."""
    nodata: float | None = None
    """Value that the catalog declares as nodata, over the file's own tag."""
    common: str | None = None
    """The catalog's common name of the band, lower case, where ``name`` is another: where two share it."""
    wavelength: float | None = None
    """Center of the band in µm, where the catalog gives one."""
    component: int | None = None
    """0, 1 or 2: red, green or blue of the color table into which the band holds indices."""
    unscaled: bool = False
    """Whether the catalog states scale 1 and offset 0, which else mean that it states none."""
    listed_by: str = field(default="assets", compare=False)
    """The catalog's field that lists the band, for messages: its spellings mean the same."""
    texts: tuple[str, ...] = ()
    """What else the catalog calls the band: its own name beside the common one, and its description."""


@dataclass(frozen=True, slots=True)
class MaskBits:
    """Some bits of a mask's values."""

    offset: int
    """The first of the bits, counted from the least."""
    length: int
    values: tuple[int, ...]
    """What they hold where a pixel is unusable."""


@dataclass(frozen=True, slots=True)
class MaskRef:
    """A band that says where a scene is valid, such as SCL or QA."""

    href: str
    index: int
    invalid: tuple[int, ...] = ()
    """Values that mark a pixel as unusable."""
    bits: tuple[MaskBits, ...] = ()
    """Bits that do, each of them by itself."""
    snow: MaskRef | None = None
    """The same band with snow and ice as unusable, too; None: it does not say where these are."""


@dataclass(frozen=True, slots=True)
class LabelRef:
    """Reference labels of a scene: a vector layer or a raster of class ids."""

    href: str
    layer: str | None = None
    """Layer of a vector file; None: its only layer."""
    classes: tuple[tuple[float, int], ...] = ()
    """Raster value → class id of the model; empty: values are ids."""
    attribute: str | None = None
    """Vector attribute that holds the class id; None: every polygon is class 1."""
    names: tuple[tuple[str, int], ...] = ()
    """Value of that attribute, as text → class id of the model (255: not labeled); empty: values are ids."""
    border: float = 0.0
    """Meters within which a pixel of class 1 that lies near another polygon of it is of class 2, its border;
    0: there are no borders. A raster has none."""
    area_href: str | None = None
    """File that holds the labeled area; None: the whole scene is labeled."""
    area_layer: str | None = None
    area_window: tuple[int, int, int, int] | None = None
    """Labeled area as (row, col, height, width) in the scene's own pixels."""


@dataclass(frozen=True, slots=True)
class SceneRef:
    """One scene of a catalog: where its bands are, and what is known of it."""

    id: str
    """The catalog's id; :func:`geoseg.config.slug.scene_slug` makes folder names of it, never paths."""
    bands: tuple[BandRef, ...]
    """All bands, in the catalog's order. Empty: take every band of ``href``, unnamed."""
    href: str | None = None
    """Absolute path of a many-band file where the catalog does not describe its bands."""
    each: BandRef | None = None
    """Nodata, scale and offset that the catalog states of every band of ``href``; None: it states none."""
    masks: tuple[MaskRef, ...] = ()
    """A pixel is valid where all of them say so."""
    unused_masks: tuple[str, ...] = ()
    """Keys of assets that look like masks and are not used."""
    nodata: float | None = None
    """Value that the workflow declares as nodata of all bands, over what catalog and files declare."""
    nodata_rule: NodataRule = "auto"
    snow: Snow = "valid"
    collar: CollarRule = "none"
    scale: StatedScale = "auto"
    """Whose scale and offset count, as the workflow says."""
    acquired: str | None = None
    """Acquisition date or time, ISO 8601."""
    labels: tuple[tuple[str, LabelRef], ...] = ()
    trust: Trust = "catalog"
    """``catalog``: plain GeoTIFF without side files; ``local``: everything GDAL reads from one's own disk."""
