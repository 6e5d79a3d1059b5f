"""Which assets of an item mask its scene, and by which values.

The unusable values of a mask's first band are those of ``geoseg:invalid``: a list of values, or an object::

    "geoseg:invalid": [0, 3]
    "geoseg:invalid": {"values": [0], "bits": {"3": [1], "8-9": [3]}}

where ``bits`` gives a bit, or bits from first to last, counted from the least, and what they hold where a
pixel is unusable. Without it they are what the asset's published classes and bit fields say
(:mod:`geoseg.config.stac.flags`), and for Sentinel-2's ``scl`` also :data:`SCL_INVALID`. Where an asset has
``geoseg:invalid``, only such assets count, else all masks; ``[]`` leaves an asset out without a word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from geoseg.config.stac.assets import SCL_KEYS, Asset, Resolve
from geoseg.config.stac.flags import MOST_BITS, Flags
from geoseg.config.stac.refs import MaskBits, MaskRef, Trust
from geoseg.errors import CatalogError
from geoseg.words import listed

__all__ = ["SCL_INVALID", "masks_of"]

SCL_INVALID = (0, 1, 3, 8, 9, 10)
"""Sentinel-2 L2A scene classes without a usable surface: no data, saturated or defective, cloud shadow, cloud
of medium and of high probability, thin cirrus."""
_SCL_SNOW = (11,)
_INVALID = "geoseg:invalid"


def masks_of(
    assets: Sequence[Asset], trust: Trust, resolve: Resolve
) -> tuple[tuple[MaskRef, ...], tuple[str, ...]]:
    """The masks of an item, and the keys of assets that look like masks and are not used.

    Raises:
        CatalogError: a mask does not say which of its values are unusable, or not in the form above.
    """
    masks = [asset for asset in assets if asset.kind(trust) == "mask"]
    marked = [asset for asset in masks if _INVALID in asset.fields]
    candidates = marked or masks
    flags = {asset.key: _flags(asset) for asset in candidates}
    silent = [asset for asset in candidates if not flags[asset.key] and not _left_out(asset)]
    if silent and len(candidates) > 1:
        keys = listed([asset.key for asset in candidates])
        raise CatalogError(
            f"it has several masks ({keys}), and {silent[0].key!r} does not say which values are invalid; "
            f"give {_INVALID} to those that count"
        )
    if silent:
        raise CatalogError(
            f"asset {silent[0].key!r} is a mask but does not say which values are invalid; "
            f'add {_INVALID}, such as [0] or {{"bits": {{"3": [1]}}}}, to it'
        )
    used = [asset for asset in candidates if flags[asset.key]]
    unused = [
        asset.key
        for asset in assets
        if asset not in used and asset.looks_like_mask(trust) and not _left_out(asset)
    ]
    return tuple(_reference(asset, flags[asset.key], resolve) for asset in used), tuple(unused)


def _left_out(asset: Asset) -> bool:
    return asset.fields.get(_INVALID) == []


def _reference(asset: Asset, flags: Flags, resolve: Resolve) -> MaskRef:
    mask = MaskRef(resolve(asset.key, asset.href), 1, flags.values, flags.bits)
    if not flags.snow_values and not flags.snow_bits:
        return mask
    values = tuple(sorted({*flags.values, *flags.snow_values}))
    return replace(mask, snow=replace(mask, invalid=values, bits=flags.bits + flags.snow_bits))


def _flags(asset: Asset) -> Flags:
    published = asset.flags
    if asset.key.lower() in SCL_KEYS:
        values = tuple(sorted({*published.values, *SCL_INVALID}))
        published = Flags(values, snow_values=tuple(value for value in _SCL_SNOW if value not in values))
    if _INVALID not in asset.fields:
        return published
    given: Any = asset.fields[_INVALID]
    form = given if isinstance(given, dict) else {"values": given}
    if form.keys() - {"values", "bits"}:
        raise CatalogError(f"asset {asset.key!r}: {_INVALID} has values and bits, got {given!r:.60}")
    return Flags(_whole(asset, form.get("values", [])), _bits(asset, form.get("bits", {})))


def _whole(asset: Asset, values: object) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise CatalogError(f"asset {asset.key!r}: invalid values must be whole numbers, got {values!r:.60}")
    return tuple(sorted(set(values)))


def _bits(asset: Asset, given: object) -> tuple[MaskBits, ...]:
    shape = f'asset {asset.key!r}: bits of {_INVALID} are such as {{"3": [1], "8-9": [3]}}'
    if not isinstance(given, dict):
        raise CatalogError(f"{shape}, got {given!r:.60}")
    bits = []
    for name, values in given.items():
        found = re.fullmatch(r"([0-9]{1,2})(?:-([0-9]{1,2}))?", name)
        first = int(found[1]) if found else MOST_BITS
        last = int(found[2] or first) if found else first
        if not first <= last < MOST_BITS:
            raise CatalogError(f"{shape}, numbered 0 to {MOST_BITS - 1}, got {name!r}")
        whole = _whole(asset, values)
        if not whole or not 0 <= whole[0] <= whole[-1] < 1 << (last - first + 1):
            raise CatalogError(f"{shape}; bits {name} cannot hold {values!r:.60}")
        bits.append(MaskBits(first, last - first + 1, whole))
    return tuple(bits)
