"""Describe a scene by the headers of its files: grid, bands, nodata. No pixel is read here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from pyproj.exceptions import CRSError, ProjError

from geoseg.config.stac.refs import (
    SHA256_MULTIHASH,
    BandRef,
    CollarRule,
    MaskRef,
    NodataRule,
    SceneRef,
    Snow,
    StatedScale,
)
from geoseg.errors import GridError, of_scene
from geoseg.grid.crs import equal_crs
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import GroundResolution, ground_resolution
from geoseg.grid.orientation import Orientation
from geoseg.grid.resample import Resampler
from geoseg.io.crs import crs_doubts, crs_name
from geoseg.io.files import sha256_of
from geoseg.io.raster.bands import choose_bands, is_measured
from geoseg.io.raster.gdal import refusal
from geoseg.io.raster.header import Header, read_header
from geoseg.io.raster.validity import Nodata
from geoseg.words import listed

if TYPE_CHECKING:
    from geoseg.config.training.data import DataEntry
    from geoseg.config.workflow import Scenes

__all__ = [
    "AS_DECLARED",
    "Reading",
    "Scene",
    "describe",
    "grid_of",
    "pixel_size",
    "verify_checksums",
]

_NO_SCALE = (1.0, 0.0)
"""Scale and offset of a file or catalog that states none."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene that can be read: a plain value, safe to pickle and to send to a worker."""

    ref: SceneRef
    geobox: GeoBox
    """The grid that is read, never mirrored: that of the selected band with the smallest pixels."""
    stored: GeoBox
    """The same pixels in the order in which they are stored; see :mod:`geoseg.grid.orientation`."""
    bands: tuple[BandRef, ...]
    """The selected bands, in the order in which they are read."""
    dtype: str
    """numpy name of the smallest type that holds every selected band as stored."""
    nodata: Nodata
    """Which values of the selected bands mean no data, and by which rule."""
    resolution: GroundResolution
    """Pixel size on the ground at the center, in meters."""
    identity: str
    """Text that stays the same while the pixels do: per file the catalog's checksum, or size and time."""
    alpha: tuple[tuple[str, int], ...] = ()
    """Of each file that has one, the number of the alpha band that is 0 where there is no data."""
    inverted: tuple[tuple[str, int], ...] = ()
    """Files whose 0 is white, and the value that is black: what is read is that less the stored value."""
    collar: tuple[float, ...] | None = None
    """Per band, how far from nodata a collar may be; None: it is not looked for."""
    smeared: tuple[float, ...] | None = None
    """The same where files are lossy and have a nodata value, whether or not it is looked for."""
    files: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """What its user should know, each in one sentence that names the key to set."""

    @property
    def value_dtype(self) -> str:
        """Type that a model's contract states, by numpy's name: as stored, float32 where a scale counts."""
        scaled = any(band.scale != 1 or band.offset != 0 for band in self.bands)
        return "float32" if scaled else self.dtype


class _Headers:
    """Headers of a scene's files, each read once."""

    def __init__(self, ref: SceneRef) -> None:
        self.ref = ref
        self.seen: dict[str, Header] = {}

    def __getitem__(self, href: str) -> Header:
        if href not in self.seen:
            self.seen[href] = read_header(href, self.ref.trust)
        return self.seen[href]


@dataclass(frozen=True, slots=True)
class Reading:
    """How scenes of a catalog are read: what a file says of it, over what catalog, files and model say."""

    bands: tuple[str | int, ...] | None = None
    """Bands to read, as :func:`describe` takes them."""
    needed: tuple[str, ...] = ()
    """What the model calls them."""
    nodata: float | None = None
    """Stored value that means no data; None: what catalog and files declare."""
    nodata_rule: NodataRule = "auto"
    snow: Snow = "valid"
    collar: CollarRule = "none"
    scale: StatedScale = "auto"
    """Whose scale and offset count."""

    @classmethod
    def of(cls, section: Scenes | DataEntry, bands: Sequence[str]) -> Self:
        """That of a workflow's or training file's section, for a network of these bands."""
        return cls(
            bands=section.bands or tuple(bands),
            needed=tuple(bands),
            nodata=section.nodata,
            nodata_rule=section.nodata_rule,
            snow=section.snow,
            collar=section.collar,
            scale=section.scale,
        )

    def describe(self, ref: SceneRef) -> Scene:
        """:func:`describe` a scene of the catalog, read in this way."""
        nodata = ref.nodata if self.nodata is None else self.nodata
        wanted = replace(
            ref,
            nodata=nodata,
            nodata_rule=self.nodata_rule,
            snow=self.snow,
            collar=self.collar,
            scale=self.scale,
        )
        return describe(wanted, self.bands, self.needed)


AS_DECLARED: Final = Reading()
"""All bands, with the nodata that catalog and files declare."""


def describe(ref: SceneRef, bands: Sequence[str | int] | None = None, needed: Sequence[str] = ()) -> Scene:
    """Describe a scene by its headers, or refuse it in one line.

    Files of one scene may differ in resolution and be mirrored; they share CRS, rotation and footprint.

    Args:
        ref: the scene as its catalog describes it. Where it lists no bands, those of ``ref.href`` count.
            Scale and offset are the catalog's or the file's own, whichever states one.
        bands: bands to read, in order: names by the rule of :mod:`geoseg.io.raster.bands`, or numbers from 1
            in the catalog's list (in the file where it lists none), repeated at will. None: all but alpha. An
            alpha band is data only where it is asked for.
        needed: what the model calls the bands that it gets, to compare numbers with names.

    Raises:
        SceneError: a file is missing, no raster, not allowed by the scene's trust, without georeference, cut
            off or absurd in size; a band is not there, unclear by name, complex or an index into a palette;
            files do not fit; catalog and file state different scales.
    """
    with of_scene(ref.id):
        return _described(ref, bands, needed)


def _described(ref: SceneRef, bands: Sequence[str | int] | None, needed: Sequence[str]) -> Scene:
    headers = _Headers(ref)
    selected, band_doubts = choose_bands(ref, bands, needed, headers.__getitem__)
    by_file = {band.href: headers[band.href] for band in selected}
    for band in selected:
        _check_band(band, headers[band.href])
    selected = tuple(_with_scale(band, headers[band.href], ref.scale) for band in selected)
    stored = min((h.geobox for h in by_file.values()), key=lambda box: abs(box.transform.determinant))
    finest = Orientation.of(stored).grid
    for header in by_file.values():
        _check_fit(header, finest)
    mask_doubts = tuple(_mask_doubts(ref, selected))
    if ref.snow == "invalid":
        ref = replace(ref, masks=tuple(mask.snow or mask for mask in ref.masks))
    for mask in ref.masks:
        _check_mask(mask, headers[mask.href])
        _check_fit(headers[mask.href], finest)
    held = [headers[band.href].dtypes[band.index - 1] for band in selected]
    dtypes = [
        "uint8" if band.component is not None else dtype for band, dtype in zip(selected, held, strict=True)
    ]
    nodata = Nodata.of(held, (_nodata_of(ref, band, headers) for band in selected), ref.nodata_rule)
    alpha = tuple(_masking_alpha(ref, selected, by_file))
    smeared = _smeared(selected, nodata, headers)
    inverted = tuple((href, header.white) for href, header in by_file.items() if header.white is not None)
    return Scene(
        ref=ref,
        geobox=finest,
        stored=stored,
        bands=selected,
        dtype=np.result_type(*dtypes).name,
        nodata=nodata,
        resolution=pixel_size(selected[0].href, finest),
        identity=_identity(ref, selected, alpha, headers),
        alpha=alpha,
        inverted=inverted,
        collar=None if ref.collar == "none" else smeared,
        smeared=smeared,
        files=tuple(dict.fromkeys(file for header in headers.seen.values() for file in header.files)),
        warnings=(
            *band_doubts,
            *(
                f"0 is white in {Path(href).name} (photometric MINISWHITE): it is inverted"
                for href, _ in inverted
            ),
            *_nodata_doubts(ref, selected, headers),
            *nodata.doubts([band.name for band in selected]),
            *mask_doubts,
            *crs_doubts(finest),
        ),
    )


def _nodata_of(ref: SceneRef, band: BandRef, headers: _Headers) -> float | None:
    """What the workflow declares, else the catalog, else the file."""
    declared = (ref.nodata, band.nodata, headers[band.href].nodata[band.index - 1])
    return next((value for value in declared if value is not None), None)


def _nodata_doubts(ref: SceneRef, selected: Sequence[BandRef], headers: _Headers) -> Iterator[str]:
    """Where catalog and file contradict each other, and the workflow does not decide it."""
    if ref.nodata is not None:
        return
    for band in selected:
        tag = headers[band.href].nodata[band.index - 1]
        if tag is not None and band.nodata is not None and tag != band.nodata and np.isfinite(tag):
            yield (
                f"the catalog declares nodata {band.nodata:g} for {band.name} but the file {tag:g}: what the "
                "catalog says counts; set scenes.nodata where that is wrong"
            )
            return


def _smeared(selected: Sequence[BandRef], nodata: Nodata, headers: _Headers) -> tuple[float, ...] | None:
    """Per band, how far from its nodata value lossy compression may have moved it; None: there is no such."""
    tolerance = tuple(headers[band.href].tolerance[band.index - 1] for band in selected)
    return tolerance if any(tolerance) and None not in nodata.values else None


def grid_of(path: Path) -> GeoBox:
    """The grid of a GeoTIFF of any kind, a class raster included; SceneError where it has none."""
    with of_scene(path.stem):
        return read_header(str(path), "catalog").geobox


def _masking_alpha(
    ref: SceneRef, selected: Sequence[BandRef], by_file: Mapping[str, Header]
) -> Iterator[tuple[str, int]]:
    """The alpha band of each file that marks where it is valid: none that is read as data.

    Nor one that the catalog gives the name of a measurement (files with four bands often call near infrared
    alpha).
    """
    data = {(band.href, band.index) for band in selected}
    data |= {(band.href, band.index) for band in ref.bands if is_measured(band)}
    for href, header in by_file.items():
        yield from [(href, index) for index in sorted(header.alpha) if (href, index) not in data][:1]


def _check_band(band: BandRef, header: Header) -> None:
    if not 1 <= band.index <= header.count:
        raise refusal(
            band.href,
            f"has {header.count} bands but the catalog puts {band.name} in {band.index}: correct the catalog",
        )
    dtype = header.dtypes[band.index - 1]
    if dtype.startswith("complex"):
        raise refusal(
            band.href,
            f"holds complex numbers ({dtype}) in band {band.index}: convert them, for example to amplitude",
        )
    if band.index in header.palette and band.component is None:
        raise refusal(
            band.href,
            f"holds palette indices in band {band.index}: ask for red, green and blue, or expand them with "
            "gdal_translate -expand rgb",
        )


def _with_scale(band: BandRef, header: Header, whose: StatedScale) -> BandRef:
    """A band with the scale and offset that count: of the catalog, else of the file; 1 and 0 say nothing."""
    if band.component is not None:
        return band  # a scale would be that of its indices
    own = header.scales[band.index - 1], header.offsets[band.index - 1]
    stated = band.scale, band.offset
    is_stated = band.unscaled or stated != _NO_SCALE
    scale, offset = {"none": _NO_SCALE, "file": own, "catalog": stated}.get(
        whose, stated if is_stated else own
    )
    if whose == "auto" and is_stated and own != _NO_SCALE and not np.allclose(stated, own, 1e-6, 0):
        raise refusal(
            band.href,
            f"has scale {own[0]:.10g} and offset {own[1]:.10g} for {band.name}, but the catalog "
            f"{stated[0]:.10g} and {stated[1]:.10g}: set scenes.scale to file or "
            "catalog, whichever is right, or to none where the values are scaled already",
        )
    if scale == 0 or not np.isfinite((scale, offset)).all():
        raise refusal(
            band.href,
            f"has scale {scale:g} and offset {offset:g} for {band.name}, which leave no values: set "
            "scenes.scale to catalog or none",
        )
    return replace(band, scale=float(scale), offset=float(offset), unscaled=False)


def _check_mask(mask: MaskRef, header: Header) -> None:
    if not 1 <= mask.index <= header.count:
        raise refusal(header.href, f"has no band {mask.index} for the mask; it has {header.count}")
    dtype = header.dtypes[mask.index - 1]
    if mask.bits and np.dtype(dtype).kind not in "iu":
        raise refusal(header.href, f"is a mask by its bits but holds {dtype}: give one of whole numbers")


def _mask_doubts(ref: SceneRef, selected: Sequence[BandRef]) -> Iterator[str]:
    """What may be wrong with the masks that are used, and with those that are not."""
    names = {band.name for band in selected}
    unused = [key for key in ref.unused_masks if key.lower() not in names]
    if unused:
        look = "looks like a mask and is" if len(unused) == 1 else "look like masks and are"
        yield (
            f"{listed(unused)} {look} not used: give geoseg:invalid in the catalog, such as [1] or "
            '{"bits": {"3": [1]}}; [] leaves it out'
        )
    if ref.snow == "invalid" and not any(mask.snow for mask in ref.masks):
        yield "scenes.snow is invalid, but no mask of the catalog says where snow is: none is left out"


def _check_fit(header: Header, finest: GeoBox) -> None:
    if not equal_crs(header.geobox.crs, finest.crs):
        raise refusal(
            header.href,
            f"is in {crs_name(header.geobox.crs)}, the scene in {crs_name(finest.crs)}: warp them to one CRS",
        )
    try:
        Resampler.between(Orientation.of(header.geobox).grid, finest)
    except GridError as error:
        raise refusal(
            header.href, f"does not fit the scene's other files ({error}): warp them to one footprint"
        ) from error


def pixel_size(href: str, box: GeoBox) -> GroundResolution:
    """Size of a file's pixels on the ground; SceneError where the grid has no place there."""
    try:
        return ground_resolution(box)
    except (GridError, CRSError, ProjError) as error:
        raise refusal(
            href, f"has pixels without a size on the ground ({error}): assign the right CRS"
        ) from error


def _identity(
    ref: SceneRef, bands: tuple[BandRef, ...], alpha: Iterable[tuple[str, int]], headers: _Headers
) -> str:
    """What decides the pixels: contents of files, which bands, scale, nodata, mask; no path, no name."""
    sums = {band.href: band.checksum for band in (*ref.bands, *bands) if band.checksum is not None}
    hrefs = list(dict.fromkeys([band.href for band in bands] + [mask.href for mask in ref.masks]))
    parts: list[Any] = [
        f"{number}={sums.get(href, headers[href].stamp)}" for number, href in enumerate(hrefs)
    ]
    parts += [f"{hrefs.index(b.href)}:{b.index}*{b.scale!r}+{b.offset!r}" for b in bands]
    parts += [f"alpha={hrefs.index(href)}:{index}" for href, index in alpha]
    parts += [f"color:{number}={b.component}" for number, b in enumerate(bands) if b.component is not None]
    parts += [f"nodata:{number}={b.nodata!r}" for number, b in enumerate(bands) if b.nodata is not None]
    if ref.collar != "none":
        parts.append(f"collar={ref.collar}")
    if ref.nodata_rule != "auto":
        parts.append(f"nodata_rule={ref.nodata_rule}")
    if ref.nodata is not None:
        parts.append(f"nodata={ref.nodata!r}")
    parts += [
        f"mask={hrefs.index(m.href)}:{m.index}!{sorted(m.invalid)}"
        + "".join(f"&{b.offset}+{b.length}={sorted(b.values)}" for b in m.bits)
        for m in ref.masks
    ]
    return ";".join(parts)


def verify_checksums(scene: Scene) -> None:
    """Compare each file of a scene with the catalog's ``file:checksum``, where it gives one.

    GDAL returns wrong pixels without an error for many a damaged file; only this finds it.

    Raises:
        SceneError: a file is not the one that the catalog describes, or its checksum is of an unknown kind.
    """
    expected = {band.href: band.checksum for band in (*scene.bands, *scene.ref.bands) if band.checksum}
    with of_scene(scene.ref.id):
        for href, checksum in expected.items():
            _verify_checksum(href, checksum)


def _verify_checksum(href: str, checksum: str) -> None:
    digest = checksum.lower().removeprefix(SHA256_MULTIHASH)
    if len(digest) != 64 or digest == checksum.lower():  # noqa: PLR2004 - hexadecimal digits of a SHA-256
        raise refusal(
            href,
            f"has the file:checksum {checksum[:20]} in the catalog: only SHA-256 multihashes (1220…) are "
            "checked; make the catalog again with `geoseg catalog`",
        )
    try:
        found = sha256_of(Path(href))
    except OSError as error:
        raise refusal(href, f"cannot be read ({error.strerror})") from error
    if found != digest:
        raise refusal(
            href,
            f"has sha256 {found[:12]}… but the catalog has {digest[:12]}…: fetch the file again, or "
            "make the catalog again",
        )
