"""A STAC item to a scene: JSON values in, a :class:`~geoseg.config.stac.refs.SceneRef` out."""

from __future__ import annotations

from typing import Any

from geoseg.config.stac.assets import Asset, Json, Resolve, assets_of, number
from geoseg.config.stac.bands import choose_bands, common_nodata, data_assets, mask_of
from geoseg.config.stac.refs import LabelRef, SceneRef, Trust
from geoseg.errors import CatalogError

__all__ = ["UNKNOWN_DATE", "acquired", "label_of", "scene_of"]

UNKNOWN_DATE = "unknown"
"""Value of ``geoseg:datetime_source`` of an item whose dates only frame the file's own."""


def scene_of(item_id: str, properties: Json, assets: Json, resolve: Resolve, trust: Trust) -> SceneRef:
    """The scene that an item describes.

    Args:
        item_id: the item's id.
        properties: its ``properties``.
        assets: its ``assets``.
        resolve: makes absolute paths of hrefs.
        trust: what may be opened.

    Raises:
        CatalogError: no usable data asset, or fields that contradict each other; names the asset.
    """
    every = list(assets_of(assets))
    data = data_assets(every, trust)
    bands, found = choose_bands(data, resolve)
    labels = tuple((one.key, label_of(one, resolve)) for one in every if one.kind(trust) == "labels")
    return SceneRef(
        id=item_id,
        bands=bands,
        href=None if bands else resolve(data[0].key, data[0].href),
        mask=mask_of(every, trust, resolve),
        nodata=common_nodata(found),
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
    day, last_day = start[:10], end[:10]
    return day if day == last_day else f"{start}/{end}"


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
            raise CatalogError(f"{shape}; {value!r} is no number") from error
        if type(class_id) is not int or not 0 <= class_id <= 255:  # noqa: PLR2004 a byte
            raise CatalogError(f"{shape}; {class_id!r} is no class id (0 to 254, or 255: not labeled)")
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
