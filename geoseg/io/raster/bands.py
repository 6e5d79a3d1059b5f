"""Which band is which: the one rule by which bands are chosen, for files, catalogs and arrays.

What is said of a band, in the order in which it counts (:mod:`geoseg.config.band_names` has the words):

1. its common name in the catalog, or in an array's coordinate;
2. its description in the file, or in an array's ``long_name``;
3. the center of its wavelengths, where every band of the file has one;
4. the file's color interpretation, as long as nothing above contradicts it in any of the file's bands. GDAL
   calls three bytes red, green and blue on its own, so a default cannot be told from a choice.

What follows from it:

* Names that are stated for all bands which are asked for win, with a warning where the file's color
  interpretation differs.
* A band that is asked for by name and is stated twice, or not at all among others that contradict the color
  interpretation, or differently by two of 1 to 3, is refused: with both statements and what to set.
* A number is the user's choice, and needs no name.
* One band with a color table is red, green and blue where these are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from geoseg.config.band_names import (
    COMMON_NAMES,
    agree,
    believed,
    common_name,
    contradict,
    fits_wavelength,
    is_measurement,
    is_sensor_code,
    micrometers,
    name_at,
    names_mask,
    plain,
    says_nothing,
)
from geoseg.config.stac.refs import BandRef, SceneRef
from geoseg.errors import SceneError
from geoseg.io.raster.header import Header
from geoseg.words import counted, listed

__all__ = [
    "Offered",
    "Saying",
    "choose",
    "choose_bands",
    "common_names",
    "is_measured",
    "not_understood",
    "own_names",
    "without_partial_wavelengths",
]

_TABLE_COLORS: Final = ("red", "green", "blue")
_MOST_LISTED = 8


@dataclass(frozen=True, slots=True)
class Saying:
    """What one source says of a band."""

    by: str
    """The source, as a message names it."""
    name: str | None
    """A common name; None: a wavelength where none is defined."""
    center: float | None = None
    """The wavelength in µm that the name is derived from."""

    def contradicts(self, other: Saying) -> bool:
        """Whether both cannot be true."""
        for one, two in ((self, other), (other, self)):
            if one.center is not None and two.center is None and two.name is not None:
                return not fits_wavelength(two.name, one.center)
        return self.name is not None and other.name is not None and not agree(self.name, other.name)


@dataclass(frozen=True, slots=True)
class Offered:
    """One band that there is, and what is said of it."""

    number: int
    """From 1, among all that there are."""
    own: str
    """What it is called, in lower case."""
    sayings: tuple[Saying, ...] = ()
    """Those that count come first."""
    color: str | None = None
    """By the color interpretation."""
    source: str = ""
    """Its file; color interpretations of one file are believed together."""
    text: str = ""
    """Its description, as written."""
    texts: tuple[str, ...] = ()
    """All that it is called, in words that say something; where nothing is stated, none is understood."""
    is_mask: bool = False
    """Whether it is alpha and nothing else."""

    @property
    def stated(self) -> str | None:
        """The common name that is stated of it."""
        return self.sayings[0].name if self.sayings else None

    @property
    def contradiction(self) -> tuple[Saying, Saying] | None:
        """Two sayings of it that cannot both be true."""
        first = self.sayings[:1]
        return next(((first[0], other) for other in self.sayings[1:] if first[0].contradicts(other)), None)


Advise = Callable[[Sequence[int]], str]
"""What to type for bands of these numbers, from 1; without numbers, where none are known to fit."""


def choose(offered: Sequence[Offered], wanted: Sequence[str | int], advise: Advise) -> list[int]:
    """Places of bands among those offered, by name, else by number, in the order in which they are wanted.

    Raises:
        SceneError: a band is not there or stated twice, or what is said of it is contradictory.
    """
    names = common_names(offered)
    return [_find(band, offered, names, wanted, advise) for band in wanted]


def common_names(offered: Sequence[Offered]) -> list[str | None]:
    """The common name of each band by the rule of this module; None: nothing names it."""
    names: list[str | None] = [None] * len(offered)
    for source in dict.fromkeys(band.source for band in offered):
        places = [place for place, band in enumerate(offered) if band.source == source]
        found = believed([offered[p].stated for p in places], [offered[p].color for p in places])
        for place, name in zip(places, found, strict=True):
            names[place] = name
    return names


def own_names(header: Header) -> tuple[str, ...]:
    """What a file calls its bands: common name, else description, else ``b1`` …; lower case, distinct."""
    bands = [BandRef(header.href, number, f"b{number}") for number in range(1, header.count + 1)]
    return _own_names(without_partial_wavelengths([_offered(band.index, band, header) for band in bands]))


def _own_names(offered: Sequence[Offered]) -> tuple[str, ...]:
    common = common_names(offered)
    names: list[str] = []
    for band, name in zip(offered, common, strict=True):
        if name is not None and common.count(name) == 1:
            names.append(name)
            continue
        text = "alpha" if band.is_mask else plain(band.text)
        names.append(text if text and text not in {*names, *common, *COMMON_NAMES} else f"b{band.number}")
    return tuple(names)


def _find(
    band: str | int,
    offered: Sequence[Offered],
    names: Sequence[str | None],
    wanted: Sequence[str | int],
    advise: Advise,
) -> int:
    text = str(band)
    if isinstance(band, int) and 1 <= band <= len(offered):
        return band - 1
    common = None if text.isdecimal() else common_name(text)
    found = _places(text, offered, names)
    if not found and text.isdecimal():
        if 1 <= int(text) <= len(offered):
            return int(text) - 1
        raise SceneError(f"has no band {text}; it has {_listing(offered, names)}: {advise(())}")
    fits = advise(_fitting(offered, wanted))
    if common is not None:
        _check_contradiction(common, offered, wanted, advise)
    if len(found) == 1:
        return found[0]
    if found:
        raise SceneError(f"has band {band!r} {len(found)} times; it has {_listing(offered, names)}: {fits}")
    data = [other for other in offered if not other.is_mask]
    if len(data) == 1 and len(wanted) > 1:
        needed = listed([str(name) for name in wanted])
        raise SceneError(
            f"has one band ({names[data[0].number - 1] or data[0].own}) where {needed} are needed: to read it"
            f" as gray, {fits}"
        )
    raise SceneError(f"has no band {band!r}; it has {_listing(offered, names)}{_distrust(offered)}: {fits}")


def _check_contradiction(
    common: str, offered: Sequence[Offered], wanted: Sequence[str | int], advise: Advise
) -> None:
    """SceneError where a band is called so by one source, and something else by another."""
    fitting = _fitting(offered, wanted)
    fits = advise(fitting)
    for other in offered:
        pair = other.contradiction
        if pair is not None and common in {saying.name for saying in other.sayings}:
            one, two = (f"{saying.name or 'no known color'} by {saying.by}" for saying in pair)
            against = [replace(o, sayings=o.contradiction[::-1]) if o.contradiction else o for o in offered]
            other_fits, message = _fitting(against, wanted), f"has band {other.number} as {one} but {two}"
            if other_fits == fitting:
                raise SceneError(f"{message}: {fits}")
            numbers = ", ".join(map(str, other_fits))
            raise SceneError(
                f"{message}: {fits} where {pair[0].by} is right"
                + f" (bands {numbers} where {pair[1].by} is)" * bool(numbers)
            )


def _places(text: str, offered: Sequence[Offered], names: Sequence[str | None]) -> list[int]:
    """Places of the bands that a text names."""
    common = None if text.isdecimal() else common_name(text)
    by_name = [place for place, name in enumerate(names) if common is not None and name == common]
    by_own = [place for place, other in enumerate(offered) if plain(text) in (other.own, plain(other.text))]
    return by_own if len(by_own) == 1 and common != plain(text) else by_name or by_own


def _is_there(band: str | int, offered: Sequence[Offered], names: Sequence[str | None]) -> bool:
    """Whether a band can be found by name or by number."""
    text = str(band)
    return (text.isdecimal() and 1 <= int(text) <= len(offered)) or bool(_places(text, offered, names))


def _fitting(offered: Sequence[Offered], wanted: Sequence[str | int]) -> list[int]:
    """Numbers that may fit what is wanted; empty where there are too few.

    That of the band which is stated so, or of several the one in the middle (sensors of many narrow bands),
    else of those of which nothing is stated, or the same as of others.
    """
    data = [band for band in offered if not band.is_mask]
    if len(data) == 1:
        return [data[0].number] * len(wanted)
    stated: dict[str | None, list[int]] = {}
    for band in data:
        stated.setdefault(band.stated, []).append(band.number)
    numbers = []
    for name in map(str, wanted):
        same = stated.get(common_name(name) or name, [])
        given = name.isdecimal() and 1 <= int(name) <= len(offered)
        numbers.append(int(name) if given else same[len(same) // 2] if same else 0)
    spare = [n for same in stated.values() if len(same) > 1 for n in same if n not in numbers]
    free = iter(dict.fromkeys([*stated.get(None, ()), *spare]))
    numbers = [number or next(free, 0) for number in numbers]
    return numbers if all(numbers) else []


def _distrust(offered: Sequence[Offered]) -> str:
    """Why the color interpretation of a file is not believed, where it is not."""
    for source in dict.fromkeys(band.source for band in offered):
        own = [band for band in offered if band.source == source]
        if _is_contradicted(own):
            colors = listed([band.color or "-" for band in own])
            stated = listed([f"band {band.number} {band.stated}" for band in own if band.stated])
            return f", and what is stated ({stated}) contradicts its color interpretation ({colors})"
    return ""


def _is_contradicted(own: Sequence[Offered]) -> bool:
    return contradict([band.stated for band in own], [band.color for band in own])


def _listing(offered: Sequence[Offered], names: Sequence[str | None]) -> str:
    known = [f"{band.number} {name or band.own}" for band, name in zip(offered, names, strict=True)]
    if len(known) > _MOST_LISTED:
        known = [*known[: _MOST_LISTED - 1], "…", known[-1]]
    return f"{counted(len(offered), 'band')} ({', '.join(known)})"


def choose_bands(
    ref: SceneRef,
    wanted: Sequence[str | int] | None,
    needed: Sequence[str],
    header_of: Callable[[str], Header],
) -> tuple[tuple[BandRef, ...], tuple[str, ...]]:
    """The bands of a scene that are read, in order, and what its user should know of them.

    Args:
        ref: the scene as its catalog describes it.
        wanted: names or numbers; None: all bands but alpha.
        needed: what the model calls the bands that it gets, empty where there is no model.
        header_of: the header of a file by its path.

    Raises:
        SceneError: see :func:`choose`.
    """
    available = ref.bands or _unlisted(ref, header_of)
    files = _files_to_open(available, wanted)
    offered = without_partial_wavelengths(
        [
            _offered(number, band, header_of(band.href) if band.href in files else None)
            for number, band in enumerate(available, 1)
        ]
    )
    if not ref.bands and ref.href is not None:
        offered = [replace(band, own=name) for band, name in zip(offered, _own_names(offered), strict=True)]
    data = [place for place, band in enumerate(offered) if not band.is_mask]
    if not (data if wanted is None else wanted):
        names = common_names(offered)
        raise SceneError(f"no band to read among {_listing(offered, names)}: name at least one")
    if wanted is not None and len(data) == 1 and (found := _of_table(available[data[0]], wanted, header_of)):
        return found, (
            "red, green and blue are read from its color table: if its values are classes, give an image",
        )
    if wanted is not None:
        _check_lists(ref.bands, offered, wanted, header_of)
    chosen = data if wanted is None else choose(offered, wanted, _advise)
    names = common_names(offered)
    selected = tuple(
        replace(
            available[place],
            name=(names[place] or offered[place].own)
            if _has_no_name(available[place])
            else available[place].name,
            common=None,
            wavelength=None,
            listed_by="",
            texts=(),
        )
        for place in chosen
    )
    return selected, tuple(_doubts(offered, chosen, wanted, needed))


def _unlisted(ref: SceneRef, header_of: Callable[[str], Header]) -> tuple[BandRef, ...]:
    """The bands of a file whose catalog does not list them."""
    if ref.href is None:
        raise SceneError("names neither bands nor a file: give its item an asset")
    header = header_of(ref.href)
    each = ref.each or BandRef(ref.href, 1, "b1")
    return tuple(replace(each, index=i + 1, name=f"b{i + 1}") for i in range(header.count))


def without_partial_wavelengths(offered: Sequence[Offered]) -> list[Offered]:
    """Bands whose wavelengths name them only where every band has one."""
    if all(band.is_mask or any(saying.center for saying in band.sayings) for band in offered):
        return list(offered)
    return [
        band if any(not saying.center for saying in band.sayings) else replace(band, sayings=())
        for band in offered
    ]


def is_measured(band: BandRef) -> bool:
    """Whether the catalog says that a band is a measurement: nir, DSM, a sensor's code such as B08."""
    return (
        band.common is not None
        or band.wavelength is not None
        or any(is_measurement(text) or is_sensor_code(text, band.index) for text in (band.name, *band.texts))
    )


def _is_unnamed(band: BandRef) -> bool:
    """Whether the catalog says nothing of a band, or only that it is alpha."""
    silent = all(says_nothing(text, band.index) for text in band.texts)
    return _has_no_name(band) and silent and band.common is None and band.wavelength is None


def _has_no_name(band: BandRef) -> bool:
    return band.name == "alpha" or says_nothing(band.name, band.index)


def _files_to_open(available: Sequence[BandRef], wanted: Sequence[str | int] | None) -> set[str]:
    """Files that hold what is wanted by the catalog, and those to whose bands it gives no name.

    Where it names not all that is wanted, also those whose bands it calls by no common name, such as B04, and
    that exist. The others need not.
    """
    if wanted is None:
        return {band.href for band in available}
    by_catalog = [_offered(number, band, None) for number, band in enumerate(available, 1)]
    files = {band.href for band in available if _is_unnamed(band)}
    for band in wanted:
        words = {plain(str(band)), common_name(str(band))} - {None}
        found = {band.source for band in by_catalog if words & {band.own, band.stated, str(band.number)}}
        files |= found or {b.source for b in by_catalog if b.stated is None and Path(b.source).is_file()}
    return files


def _offered(number: int, band: BandRef, header: Header | None) -> Offered:
    """A band of a scene: without a header, or if its file does not have it, by what the catalog says."""
    first, *others = [name for name in (band.common, band.name, *band.texts) if name]
    by_catalog = [("the catalog", first), *((f"the catalog's {other!r:.60}", other) for other in others)]
    sayings = [Saying(by, name) for by, text in by_catalog if (name := common_name(text))]
    if band.wavelength is not None:
        middle = micrometers(f"{band.wavelength:f}") or band.wavelength
        sayings.append(Saying(f"the catalog's wavelength of {middle:g} µm", name_at(middle), middle))
    text, color, is_alpha = "", None, False
    if header is not None and 1 <= band.index <= header.count:
        i = band.index - 1
        text, color, center = header.descriptions[i], header.colors[i], header.wavelengths[i]
        if described := common_name(text):
            sayings.append(Saying("the description in the file", described))
        if center is not None:
            at = f"the file's wavelength of {center:g} µm"
            sayings.append(Saying(at, name_at(center), center))
        is_alpha = band.index in header.alpha and not is_measured(band)
    if is_alpha:
        sayings = []
    called = [t for t in (band.name, band.common, *band.texts, text) if t and not says_nothing(t, band.index)]
    texts = tuple({plain(text): text for text in called}.values())
    return Offered(number, band.name, tuple(sayings), color, band.href, text, texts, is_alpha)


def _check_lists(
    listed_bands: Sequence[BandRef],
    offered: Sequence[Offered],
    wanted: Sequence[str | int],
    header_of: Callable[[str], Header],
) -> None:
    """SceneError where a band is not listed that is wanted, and a file has bands that its catalog omits."""
    names = common_names(offered)
    if all(_is_there(band, offered, names) for band in wanted):
        return
    for href in dict.fromkeys(band.href for band in listed_bands if Path(band.href).is_file()):
        header, own = header_of(href), [band for band in listed_bands if band.href == href]
        omitted = set(range(1, header.count + 1)) - header.alpha - {band.index for band in own}
        if omitted:
            missing = next(band for band in wanted if not _is_there(band, offered, names))
            raise SceneError(
                f"has no band {missing!r}: the catalog lists {len(own)} of the {header.count} bands of "
                f"{href} in {own[0].listed_by}; list all there, or remove the list to read the file's own"
            )


def _of_table(
    band: BandRef, wanted: Sequence[str | int], header_of: Callable[[str], Header]
) -> tuple[BandRef, ...]:
    """Red, green and blue of the color table of a scene's only band; empty where it has none."""
    names = [None if str(name).isdecimal() else common_name(str(name)) for name in wanted]
    if band.index not in header_of(band.href).palette or not set(names) <= set(_TABLE_COLORS):
        return ()
    index = replace(band, scale=1.0, offset=0.0, common=None, wavelength=None, texts=())
    return tuple(replace(index, name=name, component=_TABLE_COLORS.index(name)) for name in names if name)


def _advise(numbers: Sequence[int]) -> str:
    if not numbers:
        return "set scenes.bands to names or numbers of bands that are there"
    return f"set scenes.bands, such as scenes.bands: [{', '.join(map(str, numbers))}]"


def _doubts(
    offered: Sequence[Offered],
    chosen: Sequence[int],
    wanted: Sequence[str | int] | None,
    needed: Sequence[str],
) -> Iterator[str]:
    """What contradicts itself in the choice, a sentence each."""
    by_name = [pair for pair in zip(chosen, wanted or (), strict=False) if not str(pair[1]).isdecimal()]
    named = [place for place, _ in by_name]
    yield from _interpretation_doubt(offered, named)
    guessed = [offered[p] for p, name in by_name if common_name(str(name)) == offered[p].color]
    if doubt := not_understood([band for band in guessed if band.stated is None and band.texts]):
        yield (
            f"{doubt} by the file's color interpretation, which may be a default: where that is wrong, set "
            "scenes.bands to numbers in the model's order"
        )
    if wanted is not None and not named:
        yield from _number_doubt(offered, chosen, needed)
    for place, band in enumerate(offered):
        if band.is_mask and place not in chosen:
            yield from _alpha_doubt(band)


def _alpha_doubt(band: Offered) -> Iterator[str]:
    """Where alpha has a name, but none of a mask."""
    names = {f"described as {band.text!r}": band.text, f"called {band.own!r} by the catalog": band.own}
    said = {
        how: name for how, name in names.items() if name != "alpha" and not says_nothing(name, band.number)
    }
    if said and not any(names_mask(name) for name in said.values()):
        yield (
            f"band {band.number} is {next(iter(said))} but is alpha by the file's color interpretation, so "
            "it is read as a mask: where it is data, correct it with "
            f"gdal_edit.py -colorinterp_{band.number} undefined"
        )


def not_understood(bands: Sequence[Offered], names: Sequence[str] | None = None) -> str:
    """That the names of bands mean nothing here, and for what they are taken; empty for no band.

    Args:
        bands: those whose names are not understood.
        names: for what they are taken; None: for what the color interpretation says.
    """
    if not bands:
        return ""
    texts = listed([f"{' / '.join(band.texts):.60}" for band in bands])
    taken = listed([band.color or band.own for band in bands] if names is None else names)
    numbers = listed([str(band.number) for band in bands])
    if len(bands) == 1:
        return f"band {numbers} is called {texts}, which is no common name: it is taken for {taken}"
    return f"bands {numbers} are called {texts}, which are no common names: they are taken for {taken}"


def _interpretation_doubt(offered: Sequence[Offered], named: Sequence[int]) -> Iterator[str]:
    for source in dict.fromkeys(offered[place].source for place in named if offered[place].stated):
        own = [band for band in offered if band.source == source]
        if not _is_contradicted(own):
            continue
        bands = [band for band in (offered[place] for place in named) if band in own and band.stated]
        numbers = listed([str(band.number) for band in bands])
        stated = listed([band.stated or band.own for band in bands])
        colors = listed([band.color or "-" for band in own])
        yield (
            f"bands {numbers} are read as {stated} by {bands[0].sayings[0].by}, although the file's color "
            f"interpretation is {colors}: if that is right, set scenes.bands to numbers"
        )


def _number_doubt(offered: Sequence[Offered], chosen: Sequence[int], needed: Sequence[str]) -> Iterator[str]:
    """Where numbers give a model other bands than what is stated of all of them."""
    stated = [offered[place].stated for place in chosen]
    if None in stated or len(set(chosen)) < len(chosen) or len(chosen) != len(needed):
        return
    names = [common_name(name) or name for name in needed]
    pairs = list(zip(stated, names, strict=True))
    if stated != names and (set(stated) == set(names) or all(one != other for one, other in pairs)):
        numbers = ", ".join(str(offered[place].number) for place in chosen)
        yield (
            f"scenes.bands gives the bands {numbers} for {listed(names)}, but "
            f"{offered[chosen[0]].sayings[0].by} has them as {listed([str(name) for name in stated])}"
        )
