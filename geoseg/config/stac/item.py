"""A STAC item to a scene: JSON values in, a :class:`~geoseg.config.stac.refs.SceneRef` out.

Which bands it offers, how they are called, what masks them, when it was taken, which labels it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from geoseg.config.stac.assets import BAND_LISTS, COMMON_NAME, WAVELENGTH, Asset, Resolve, assets_of, number
from geoseg.config.stac.flags import Json
from geoseg.config.stac.masks import masks_of
from geoseg.config.stac.refs import BandRef, LabelRef, SceneRef, Trust
from geoseg.errors import CatalogError
from geoseg.words import listed

__all__ = ["UNKNOWN_DATE", "acquired", "label_of", "scene_of"]

UNKNOWN_DATE = "unknown"
"""Value of ``geoseg:datetime_source`` of an item whose dates only frame the file's own."""


def scene_of(item_id: str, properties: Json, assets: Json, resolve: Resolve, trust: Trust) -> SceneRef:
    """The scene that an item describes; ``resolve`` makes absolute paths of hrefs.

    No usable data asset, or fields that contradict each other, are a CatalogError that names the asset.
    """
    every = list(assets_of(assets))
    data = _data_assets(every, trust)
    bands = _choose_bands(data, resolve)
    labels = tuple((one.key, label_of(one, resolve)) for one in every if one.kind(trust) == "labels")
    image = data if len(data) == 1 else []  # is no mask, whatever its key
    masks, unused = masks_of([one for one in every if one not in image], trust, resolve)
    return SceneRef(
        id=item_id,
        bands=bands,
        href=None if bands else resolve(data[0].key, data[0].href),
        each=None if bands else _each(data[0], resolve),
        masks=masks,
        unused_masks=unused,
        acquired=acquired(properties),
        labels=labels,
        trust=trust,
    )


def acquired(properties: Json) -> str | None:
    """When an item's images were taken, ISO 8601: ``datetime``, or the day or interval of start and end.

    None where the item says that it does not know (``geoseg:datetime_source: unknown``).
    """
    if properties.get("geoseg:datetime_source") == UNKNOWN_DATE:
        return None
    exact = properties.get("datetime")
    if isinstance(exact, str):
        return exact
    start, end = properties.get("start_datetime"), properties.get("end_datetime")
    if not isinstance(start, str) or not isinstance(end, str):
        return None
    return start[:10] if start[:10] == end[:10] else f"{start}/{end}"


def label_of(asset: Asset, resolve: Resolve) -> LabelRef:
    """The reference labels of an asset.

    ``geoseg:layer`` and ``geoseg:attribute`` name the layer and the class attribute of a vector file,
    ``geoseg:classes`` maps raster values to class ids, ``geoseg:area`` (a file; without it, the labels' own),
    ``geoseg:area_layer`` and ``geoseg:area_window`` [row, col, height, width] say what is labeled.

    Raises:
        CatalogError: a field of the wrong shape; names the asset.
    """
    href = resolve(asset.key, asset.href)
    area, area_layer = asset.text("geoseg:area"), asset.text("geoseg:area_layer")
    area_href = resolve(asset.key, area) if area is not None else href if area_layer is not None else None
    return LabelRef(
        href=href,
        layer=asset.text("geoseg:layer"),
        classes=_classes(asset),
        attribute=asset.text("geoseg:attribute"),
        area_href=area_href,
        area_layer=area_layer,
        area_window=_window(asset),
    )


def _classes(asset: Asset) -> tuple[tuple[float, int], ...]:
    given: Any = asset.fields.get("geoseg:classes")
    if given is None:
        return ()
    shape = f'asset {asset.key!r}: geoseg:classes maps values to class ids, such as {{"255": 1}}'
    if not isinstance(given, dict) or not given:
        raise CatalogError(f"{shape}, got {given!r:.60}")
    pairs = []
    for value, class_id in given.items():
        try:
            stored = float(value)
        except ValueError as error:
            raise CatalogError(f"{shape}; {value!r} is not a number") from error
        if type(class_id) is not int or not 0 <= class_id <= 255:  # noqa: PLR2004 a byte
            raise CatalogError(f"{shape}; {class_id!r} is not a class id (0 to 254, or 255: not labeled)")
        pairs.append((number(asset, "geoseg:classes", stored), class_id))
    return tuple(sorted(pairs))


def _window(asset: Asset) -> tuple[int, int, int, int] | None:
    given: Any = asset.fields.get("geoseg:area_window")
    if given is None:
        return None
    if (
        not isinstance(given, list)
        or len(given) != 4  # noqa: PLR2004 row, col, height, width
        or not all(type(part) is int and part >= 0 for part in given)
        or 0 in given[2:]
    ):
        raise CatalogError(
            f"asset {asset.key!r}: geoseg:area_window must be [row, col, height, width] in pixels, "
            f"got {given!r:.60}"
        )
    row, col, height, width = given
    return row, col, height, width


@dataclass(frozen=True, slots=True)
class _Found:
    """One band that an asset describes."""

    asset: Asset
    index: int
    """Band number in the file, from 1."""
    own: str | None
    """The catalog's name of the band, lower case."""
    common: str | None
    """Its common name, lower case."""
    wavelength: float | None
    """Center in µm."""
    description: str | None
    scale: float
    offset: float
    unscaled: bool
    nodata: float | None
    size: float | None
    """Ground resolution in meters, where the catalog gives one."""
    listed_by: str
    """The field that lists it."""
    fallback: str
    """What to call the band when the catalog has no name for it."""

    @property
    def identity(self) -> str:
        """What two assets share that hold the same band."""
        return self.own or self.common or self.fallback


def _data_assets(assets: Sequence[Asset], trust: Trust) -> list[Asset]:
    """The assets that hold the scene's bands, by the rules of :mod:`geoseg.config.stac.assets`."""
    kinds = [(asset, asset.kind(trust)) for asset in assets]
    for wanted in ("data", "rendering"):
        found = [asset for asset, kind in kinds if kind == wanted]
        if found:
            return [asset for asset in found if asset.is_tiff] or found
    if any(asset.kind("local") in ("data", "rendering") for asset in assets):
        raise CatalogError("its images are no GeoTIFFs; set scenes.trust to local to open them all the same")
    if masks := [asset.key for asset, kind in kinds if kind == "mask"]:
        raise CatalogError(
            f"its images are masks ({listed(masks)}), by their classes or roles; add one of the role data"
        )
    keys = listed([asset.key for asset in assets])
    raise CatalogError(f"none of its assets ({keys or 'it has none'}) is a GeoTIFF with the role data")


def _choose_bands(assets: Sequence[Asset], resolve: Resolve) -> tuple[BandRef, ...]:
    """The bands of data assets, each once, named.

    A many-band asset whose bands all have an asset of their own (a rendering of them) is left out. Where a
    band comes at several resolutions, the finest counts. A band is called by its common name, or by its own
    where several share the common one (Sentinel-2's three ``rededge``), else ``b1`` … in a lone asset and by
    the asset's key among several. None where the lone asset does not describe its bands.
    """
    described = [_described(asset, lone=len(assets) == 1) for asset in assets]
    singles = {
        name for found in described if len(found) == 1 for name in (found[0].own, found[0].common) if name
    }
    kept = [
        band
        for found in described
        if not (len(found) > 1 and all({band.own, band.common} & singles for band in found))
        for band in found
    ]
    best: dict[str, _Found] = {}
    for band in kept:
        rival = best.get(band.identity)
        best[band.identity] = band if rival is None else _finer(rival, band)
    chosen = tuple(band for band in kept if best[band.identity] is band)
    return tuple(
        BandRef(
            href=resolve(band.asset.key, band.asset.href),
            index=band.index,
            name=name,
            scale=band.scale,
            offset=band.offset,
            unscaled=band.unscaled,
            checksum=band.asset.text("file:checksum"),
            nodata=band.nodata,
            common=None if band.common == name else band.common,
            wavelength=band.wavelength,
            listed_by=band.listed_by,
            texts=tuple(text for text in (band.own, band.description) if text and text != name),
        )
        for band, name in zip(chosen, _names(chosen), strict=True)
    )


def _described(asset: Asset, *, lone: bool) -> list[_Found]:
    """The bands of one asset; empty for a lone asset that does not describe them."""
    lists = {name: asset.listed(name) for name in BAND_LISTS}
    counts = {name: len(bands) for name, bands in lists.items() if bands}
    if len(set(counts.values())) > 1:
        numbers = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise CatalogError(f"asset {asset.key!r} contradicts itself on its number of bands: {numbers}")
    if not counts and lone and "eo:common_name" not in asset.fields:
        return []
    count = next(iter(counts.values()), 1)  # among several assets, one that describes no bands has one
    key = asset.key.lower()
    found = []
    for i in range(count):
        fallback = f"b{i + 1}" if lone else key if count == 1 else f"{key}.{i + 1}"
        fields = [bands[i] for bands in lists.values() if bands]
        found.append(_band(asset, fields, i + 1, fallback, " and ".join(counts) or "assets"))
    return found


def _each(asset: Asset, resolve: Resolve) -> BandRef | None:
    """Nodata, scale and offset that an asset states of all the bands that it does not list."""
    found = _band(asset, (), 1, "b1")
    plain = BandRef(resolve(asset.key, asset.href), 1, "b1")
    stated = replace(
        plain, scale=found.scale, offset=found.offset, unscaled=found.unscaled, nodata=found.nodata
    )
    return None if stated == plain else stated


def _band(
    asset: Asset, fields: Sequence[Json], index: int, fallback: str, listed_by: str = "assets"
) -> _Found:
    """One band from what the asset, ``raster:bands``, ``eo:bands`` and ``bands`` say; the last one counts."""
    merged: dict[str, Any] = {}
    for source in (asset.fields, *fields):
        for names in _SPELLINGS:
            given = next((source[name] for name in names if source.get(name) is not None), None)
            if given is not None and not (source is asset.fields and names in _OF_BANDS):
                merged[names[0]] = given
    scale = number(asset, "raster:scale", merged.get("raster:scale", 1.0))
    offset = number(asset, "raster:offset", merged.get("raster:offset", 0.0))
    if scale == 0:
        raise CatalogError(f"asset {asset.key!r}: raster:scale of band {index} is 0, so it has no values")
    size, center = merged.get("gsd"), merged.get("eo:center_wavelength")
    description = merged.get("description")
    return _Found(
        asset=asset,
        index=index,
        own=_lower(asset, merged.get("name")),
        common=_lower(asset, merged.get("eo:common_name")),
        wavelength=None if center is None else number(asset, "eo:center_wavelength", center),
        description=description.strip() if isinstance(description, str) else None,
        scale=scale,
        offset=offset,
        unscaled=(scale, offset) == (1, 0) and ("raster:scale" in merged or "raster:offset" in merged),
        nodata=_nodata(asset, merged.get("nodata")),
        size=None if size is None else number(asset, "gsd", size),
        listed_by=listed_by,
        fallback=fallback,
    )


def _nodata(asset: Asset, given: object) -> float | None:
    """Nodata but NaN and infinity, which are invalid whether or not they are declared."""
    values = [
        number(asset, "nodata", value)
        for value in (given if isinstance(given, list) else [given])  # file:nodata is a list
        if value is not None and str(value).lower().strip("+-") not in {"nan", "inf"}
    ]
    if len(set(values)) > 1:
        raise CatalogError(f"asset {asset.key!r} gives several nodata values, {given!r:.60}; give one")
    return values[0] if values else None


_OF_BANDS = (("name",), ("description",))
"""What an asset has, too, but of itself."""
_SPELLINGS = (
    *_OF_BANDS,
    COMMON_NAME,
    WAVELENGTH,
    ("raster:scale", "scale"),
    ("raster:offset", "offset"),
    ("nodata", "file:nodata"),
    ("gsd", "raster:spatial_resolution", "spatial_resolution"),
)


def _lower(asset: Asset, name: object) -> str | None:
    if name is None:
        return None
    if not isinstance(name, str) or not name.strip():
        raise CatalogError(f"asset {asset.key!r}: a band's name must be text, got {name!r:.60}")
    return name.strip().lower()


def _finer(one: _Found, other: _Found) -> _Found:
    if one.asset is other.asset:
        raise CatalogError(
            f"asset {one.asset.key!r} calls two bands {one.identity!r}; give each its own name"
        )
    if one.size is None or other.size is None or one.size == other.size:
        raise CatalogError(
            f"assets {one.asset.key!r} and {other.asset.key!r} both hold band {one.identity!r} and no gsd "
            "says which is finer; remove one of them, or its role data"
        )
    return one if one.size < other.size else other


def _names(bands: Sequence[_Found]) -> list[str]:
    """The common name where it says which band is meant, else the band's own; all distinct."""
    meanings = [name for band in bands for name in {band.common, band.identity} if name]
    return [
        band.common if band.common and meanings.count(band.common) == 1 else band.identity for band in bands
    ]
