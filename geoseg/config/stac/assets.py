"""What a STAC item's assets say of bands, masks and labels: JSON values in, references out.

Both spellings are read: STAC 1.0 (``eo:bands``, ``raster:bands``) and 1.1 (``bands`` with ``eo:common_name``,
``raster:scale``; fields of the asset count for all its bands).

* **data**: role ``data``, or a GeoTIFF without a role. Where there is none, a GeoTIFF with another role that
  is neither thumbnail, overview nor metadata, such as ``visual``. Files that are no GeoTIFF count under
  ``trust: local`` only, and only where no GeoTIFF is given.
* **mask**: role ``mask`` or ``data-mask``, the field ``geoseg:invalid``, or the key ``scl``; bit fields of
  which some are unusable; classes of the only band, of which some are clouds or their shadow, or only no data
  and valid, or some are unusable and the key is a mask's (``qa…``). See :mod:`geoseg.config.stac.masks`.
* **labels**: role ``labels`` or ``label``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from geoseg.config.stac.flags import Flags, Json, are_of_mask, flags_of
from geoseg.config.stac.refs import Trust
from geoseg.errors import CatalogError

__all__ = [
    "BAND_LISTS", "COMMON_NAME", "LOCAL_SUFFIXES", "PHOTO_SUFFIXES", "SCL_KEYS", "TIFF_SUFFIXES",
    "WAVELENGTH", "Asset", "Kind", "Resolve", "assets_of", "number",
]  # fmt: skip

Resolve = Callable[[str, str], str]
"""(asset key, href) → absolute path; raises :class:`~geoseg.errors.CatalogError` for what is not local."""

Kind = Literal["data", "rendering", "mask", "labels", "other"]

_TIFF_TYPES = {"image/tiff", "image/geotiff", "image/vnd.stac.geotiff", "image/x.geotiff"}
TIFF_SUFFIXES = frozenset({".tif", ".tiff", ".gtif", ".gtiff", ".geotif", ".geotiff", ".btf", ".tf8"})
"""Of files that are GeoTIFFs by their name, lower case."""
PHOTO_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"})
"""Of pictures, which have a place on the ground only where a world file is beside them."""
LOCAL_SUFFIXES = PHOTO_SUFFIXES | {
    *[
        ".jp2",
        ".j2k",
        ".jpx",
        ".ecw",
        ".sid",
        ".vrt",
        ".mrf",
        ".img",
        ".pix",
        ".rst",
        ".ers",
        ".sdat",
        ".kea",
    ],
    *[".bil", ".bip", ".bsq", ".nc", ".hdf", ".h5", ".he5", ".grb", ".grb2", ".ntf", ".nitf", ".asc", ".dem"],
    *[".hgt", ".dt0", ".dt1", ".dt2", ".bag"],
}
"""Of other rasters that GDAL may read, which ``trust: local`` opens."""
_NEVER_DATA = {"thumbnail", "overview", "metadata"}
_BITFIELDS = "classification:bitfields"
BAND_LISTS = ("raster:bands", "eo:bands", "bands")
"""Fields that list the bands of an asset; of what several say, the last one counts."""
COMMON_NAME = ("eo:common_name", "common_name")
WAVELENGTH = ("eo:center_wavelength", "center_wavelength")
_MEASURED = (*COMMON_NAME, *WAVELENGTH)
_MASK_ROLES = {"mask", "data-mask"}
"""Roles of assets that have to say which of their values are unusable."""
_MASK_LIKE_ROLES = {"cloud", "cloud-shadow", "snow-ice", "saturation", "water-mask", "land-water"}
_MASK_KEY = re.compile(
    r"mask(?!ed)|msk|(?<!point)(?<!point_)cloud(?!_?free|less)|shadow|quality|reliability|valid(?!at)|scene_?class"
    r"|(?<![a-z])(?:cld|snw)|(?<![a-z])(?:b?qa|qc|udm|scl|clm|clp)(?![a-z])"
)
"""In a key of words parted by ``_``, lower case: what archives call their masks."""
SCL_KEYS = {"scl", "scl_20m", "scl_60m"}
"""Sentinel-2 L2A's scene classification, as archives spell its key."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset of an item: its key and its JSON."""

    key: str
    fields: Json

    @property
    def href(self) -> str:
        """The href as written; a CatalogError where there is none."""
        href = self.fields.get("href")
        if not isinstance(href, str) or not href.strip():
            raise CatalogError(f"asset {self.key!r} has no href; give the path of its file")
        return href

    @property
    def roles(self) -> set[str]:
        """Roles, lower case."""
        roles = self.fields.get("roles") or ()
        return {str(role).lower() for role in roles} if isinstance(roles, list | tuple) else set()

    @property
    def is_tiff(self) -> bool:
        """Whether its media type, or without one its name, says GeoTIFF."""
        media = self._media
        return media in _TIFF_TYPES or (not media and self._suffix in TIFF_SUFFIXES)

    def is_raster(self, trust: Trust) -> bool:
        """Whether it is a raster that this trust opens."""
        if self.is_tiff:
            return True
        return trust == "local" and (self._media.startswith("image/") or self._suffix in LOCAL_SUFFIXES)

    def kind(self, trust: Trust) -> Kind:
        """What the asset is for, by the rules on top of this module."""
        roles = self.roles
        if roles & {"labels", "label"}:
            return "labels"
        if not self.is_raster(trust):
            return "other"
        if self._is_mask(roles):
            return "mask"
        if "data" in roles or not roles:
            return "data"
        return "other" if roles & _NEVER_DATA else "rendering"

    def _is_mask(self, roles: set[str]) -> bool:
        key, flags = self.key.lower(), self.flags
        if roles & _MASK_ROLES or "geoseg:invalid" in self.fields or key in SCL_KEYS:
            return True
        return bool(flags.bits) or (key.startswith("qa") and bool(flags)) or self._masks_by_classes

    @property
    def _masks_by_classes(self) -> bool:
        """Whether its classes are those of a mask, or its key is and some of its classes are unusable."""
        if self.roles & (_NEVER_DATA | {"visual"}) or self._is_measured or not self.flags.values:
            return False
        if any(len(self.listed(name)) > 1 for name in BAND_LISTS):
            return False
        return self._has_key_of_mask or are_of_mask(self._entries("classification:classes"))

    @property
    def _is_measured(self) -> bool:
        """Whether some band of it has a common name or a wavelength."""
        described = (self.fields, *(band for name in BAND_LISTS for band in self.listed(name)))
        return any(fields.get(name) is not None for fields in described for name in _MEASURED)

    @property
    def _has_key_of_mask(self) -> bool:
        parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.key)
        return _MASK_KEY.search(re.sub(r"[^a-z0-9]+", "_", parted.lower())) is not None

    def looks_like_mask(self, trust: Trust) -> bool:
        """Whether it is a raster that its key, roles, classes or bit fields call a mask, of any kind."""
        looks = (
            (self._has_key_of_mask and not self._is_measured)
            or self.roles & (_MASK_ROLES | _MASK_LIKE_ROLES)
            or self._entries(_BITFIELDS)
            or self._masks_by_classes
        )
        return self.is_raster(trust) and not self.roles & (_NEVER_DATA | {"labels", "label"}) and bool(looks)

    @property
    def flags(self) -> Flags:
        """What its published classes and bit fields call unusable."""
        return flags_of(self._entries("classification:classes"), self._entries(_BITFIELDS))

    def _entries(self, name: str) -> list[Json]:
        """A list of objects of the asset or of its first band; empty: there is none."""
        for fields in (self.fields, *self.listed("bands")[:1], *self.listed("raster:bands")[:1]):
            entries = fields.get(name)
            if isinstance(entries, list):
                return [entry for entry in entries if isinstance(entry, dict)]
        return []

    def listed(self, name: str) -> list[Json]:
        """A list of JSON objects, such as ``eo:bands``; empty: there is none. A CatalogError for others."""
        values = self.fields.get(name)
        if values is None:
            return []
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise CatalogError(f"asset {self.key!r}: {name} must be a list of objects, one per band")
        return values

    def text(self, name: str) -> str | None:
        """A text field; None where the asset has none. A CatalogError where it is not text."""
        value = self.fields.get(name)
        if value is not None and (not isinstance(value, str) or not value):
            raise CatalogError(f"asset {self.key!r}: {name} must be text, got {value!r:.60}")
        return value

    @property
    def _media(self) -> str:
        media = self.fields.get("type")
        return media.split(";")[0].strip().lower() if isinstance(media, str) else ""

    @property
    def _suffix(self) -> str:
        return PurePosixPath(str(self.fields.get("href", ""))).suffix.lower()


def assets_of(assets: Json) -> Iterator[Asset]:
    """The assets of an item, in their order; a CatalogError where one is no JSON object."""
    for key, fields in assets.items():
        if not isinstance(fields, dict):
            raise CatalogError(f"asset {key!r} must be an object with an href, got {fields!r:.60}")
        yield Asset(key, fields)


def number(asset: Asset, name: str, value: object) -> float:
    """A finite number of an asset; a CatalogError for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise CatalogError(f"asset {asset.key!r}: {name} must be a finite number, got {value!r:.60}")
    return float(value)
