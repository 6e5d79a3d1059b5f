"""From a training file to labeled scenes that fit it: everything that can be known before any work."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from geoseg.config.model.contract import ValueType
from geoseg.config.training.data import DataEntry
from geoseg.engine.contract import check_stretch
from geoseg.errors import CatalogError, ConfigError, GeosegError, LabelError, SceneError, of_scene
from geoseg.grid.encoding import BORDER_NAME, IGNORE
from geoseg.grid.window import Window
from geoseg.io.labels.reader import BORDER, label_kind
from geoseg.io.raster.scene import Reading
from geoseg.io.stac.folder import open_catalog
from geoseg.training.data.augment import ColorSettings
from geoseg.training.data.cache import SceneCache
from geoseg.training.data.chips import ChipSettings
from geoseg.training.data.file_scene import FileScene, open_scene
from geoseg.training.data.holdout import Split
from geoseg.training.data.index import SceneIndex, index_scene
from geoseg.words import did_you_mean, listed

if TYPE_CHECKING:
    from geoseg.config.stac.refs import LabelRef, SceneRef
    from geoseg.config.training.training_file import Training
    from geoseg.io.yaml.files import LoadedTraining

__all__ = ["IndexedData", "SceneRead", "chip_settings", "index_data", "keys_of_entry", "open_data"]

_LISTED = 12  # mistakes that are listed; a wrong path in a catalog of a thousand scenes is one


_KEY = re.compile(rf"\b(?:scenes|data)\.({'|'.join(DataEntry.model_fields)})\b")


def keys_of_entry(text: str, number: int) -> str:
    """A message that names the keys of a workflow, with those of an entry of ``data`` to type instead.

    >>> keys_of_entry("set scenes.bands to names", 1)
    'set data[1].bands to names'
    """
    return _KEY.sub(rf"data[{number}].\1", text)


def _spelled(error: GeosegError, number: int) -> GeosegError:
    error.args = (keys_of_entry(str(error.args[0]), number),)
    return error


@dataclass(frozen=True, slots=True)
class SceneRead:
    """A scene was read for the first time."""

    scene: str  # the catalog's id
    place: str
    number: int  # which of the scenes, from 1
    of: int
    pixels: int  # labeled pixels to train on, at the resolution that chips are cut at
    held: int  # labeled pixels that are held out, margins included
    repaired: int  # polygons that were invalid and had to be repaired


@dataclass(frozen=True, slots=True, eq=False)
class IndexedData:
    """Scenes that were read once."""

    scenes: tuple[FileScene, ...]
    """With the weights that chips are drawn by."""
    indexes: tuple[SceneIndex, ...]
    notes: tuple[str, ...]
    """What is no mistake but may not be meant, a sentence each."""


def chip_settings(training: Training) -> ChipSettings:
    """How the file wants chips to be cut."""
    chips = training.chips
    ranges = (
        dict.fromkeys(("brightness", "contrast", "gamma", "gain", "saturation", "hue"), 0.0)
        if chips.color is None
        else chips.color.model_dump()
    )
    return ChipSettings(
        size=chips.sides,
        resolution=training.resolution.value,
        scales=chips.scales,
        rotate=chips.rotate,
        flips=chips.flips,
        focus=chips.focus,
        color=ColorSettings(**ranges, blur=chips.blur, noise=chips.noise, holes=chips.holes),
    )


def open_data(loaded: LoadedTraining, cache: SceneCache) -> tuple[FileScene, ...]:
    """Open the headers and labels of all scenes; no pixel is read.

    Raises:
        CatalogError: a catalog cannot be read, or has no such scene or no scene at all.
        SceneError, LabelError: what is wrong with each scene, one line each.
    """
    scenes: list[FileScene] = []
    errors: list[GeosegError] = []
    for number, (entry, path) in enumerate(zip(loaded.training.data, loaded.catalogs, strict=True)):
        try:
            for found in _entry_scenes(loaded.training, entry, path, cache):
                if isinstance(found, GeosegError):
                    errors.append(_spelled(found, number))
                else:
                    scenes.append(replace(found, entry=number))
        except GeosegError as error:
            errors.append(type(error)(f"{loaded.where(f'data[{number}]')}: {error}"))
    if not errors:
        errors += _disagreements(scenes)
    _refuse(errors)
    return tuple(scenes)


def index_data(
    scenes: tuple[FileScene, ...], training: Training, watch: Callable[[SceneRead], None] = lambda _read: None
) -> IndexedData:
    """Read each scene once: where which class lies, and what its pixels are like.

    Scenes that are held out as a whole give no chips; the others of their entry take over their share.

    Raises:
        SceneError, LabelError: what is wrong with each scene, one line each; a class that no scene has.
    """
    classes = [entry.name for entry in training.classes]
    indexes: list[SceneIndex] = []
    notes: list[str] = []
    errors: list[GeosegError] = []
    for number, scene in enumerate(scenes, 1):
        try:
            notes += _stretch_doubts(scene)
            index = index_scene(scene, [*classes, BORDER_NAME] if scene.label.border else classes)
        except GeosegError as error:
            errors.append(_spelled(error, scene.entry))
            continue
        indexes.append(index)
        watch(
            SceneRead(scene.name, scene.group, number, len(scenes), index.pixels, index.held, scene.repaired)
        )
    _refuse(errors)
    notes += _absences(scenes, indexes, training)
    held = [scene.name for scene, index in zip(scenes, indexes, strict=True) if not index.pixels]
    if held:
        notes.append(f"held out as a whole, so scored and not trained on: {listed(held)}")
    return IndexedData(_shared(scenes, indexes), tuple(indexes), tuple(notes))


def _stretch_doubts(scene: FileScene) -> Iterator[str]:
    """Refuse a stretch that leaves nothing of a scene, by a sample of it, and say where it leaves little."""
    sample = None if scene.stretch is None else scene.sample()
    if sample is not None and scene.stretch is not None and sample.valid:
        with of_scene(scene.name):
            doubts = check_stretch(sample, scene.stretch)
        yield from (f"scene {scene.name}: {keys_of_entry(doubt, scene.entry)}" for doubt in doubts)


def _absences(
    scenes: Sequence[FileScene], indexes: Sequence[SceneIndex], training: Training
) -> Iterator[str]:
    """Refuse classes that no pixel to train on has; that there is no object at all may be meant."""
    classes = [entry.name for entry in training.classes]
    seen = {klass for index in indexes for klass in index.classes}
    absent = [name for number, name in enumerate(classes) if number not in seen]
    if seen and all(scene.features == 0 for scene in scenes):
        yield (
            f"the labels hold no object at all, so the network learns from background alone and never sees "
            f"{listed(absent)}"
        )
        return
    if training.border and seen and BORDER not in seen:
        raise LabelError(
            f"no two objects to train on lie within {training.border:g} m of each other: a network cannot "
            "learn borders that it never sees; add scenes that have some, labeled by polygons, or leave the "
            "border out"
        )
    if absent and seen:  # without any, the sampler says why
        raise LabelError(
            f"no pixel to train on is labeled {listed(absent)}: a network cannot learn what it never sees; "
            "add scenes that have it, or leave it out of classes"
        )


def _shared(scenes: Sequence[FileScene], indexes: Sequence[SceneIndex]) -> tuple[FileScene, ...]:
    """The scenes, each entry's weight shared by those of its scenes that have pixels to train on."""
    whole: Counter[int] = Counter()
    drawn: Counter[int] = Counter()
    for scene, index in zip(scenes, indexes, strict=True):
        whole[scene.entry] += 1
        drawn[scene.entry] += index.pixels > 0
    return tuple(
        replace(scene, weight=scene.weight * whole[scene.entry] / drawn[scene.entry])
        if 0 < drawn[scene.entry] < whole[scene.entry]
        else scene
        for scene in scenes
    )


def _refuse(errors: Sequence[GeosegError]) -> None:
    """Raise errors, if any, as one, a line each: of their kind, or SceneError where kinds differ."""
    if not errors:
        return
    kind = type(errors[0]) if len({type(error) for error in errors}) == 1 else SceneError
    lines = [str(error) for error in errors[:_LISTED]]
    if len(errors) > _LISTED:
        lines.append(f"and {len(errors) - _LISTED} more scenes cannot be trained on")
    raise kind("\n".join(lines))


def _entry_scenes(
    training: Training, entry: DataEntry, path: Path, cache: SceneCache
) -> Iterator[FileScene | GeosegError]:
    """The scenes of an entry, or what is wrong with each."""
    catalog = open_catalog(path, entry.trust, entry.ids)
    yield from (SceneError(refusal.reason) for refusal in catalog.refusals)
    if not catalog.scenes and not catalog.refusals:
        raise CatalogError(f"{path}: no scenes; make a catalog with `geoseg catalog FOLDER -o FILE`")
    settings, reading = chip_settings(training), Reading.of(entry, training.bands)
    for number, ref in enumerate(catalog.scenes):
        try:
            with of_scene(ref.id):
                scene = open_scene(
                    ref,
                    _label(training, entry, ref),
                    resolution=settings.finest,
                    cache=cache,
                    reading=reading,
                    limit=None if entry.window is None else Window(*entry.window),
                    stretch=entry.stretch,
                    weight=entry.weight / len(catalog.scenes),
                    place=entry.place or ref.id,
                    split=_split(training, entry, number),
                    chooses=entry.choose,
                )
        except GeosegError as error:
            yield error
        else:
            yield scene


def _split(training: Training, entry: DataEntry, number: int) -> Split:
    """Blocks of one scene; each of an entry holds out others, or small scenes would all lose one corner."""
    split, own = training.split, entry.holdout
    return Split(
        block=(own.block or split.block).value,
        every=split.every if own.every is None else own.every,
        margin=(own.margin or split.margin).value,
        phase=own.phase + number,
    )


def _label(training: Training, entry: DataEntry, ref: SceneRef) -> LabelRef:
    """The labels that are meant, with the file's classes."""
    assets = dict(ref.labels)
    label = assets.get(entry.asset)
    if label is None:
        hint = did_you_mean(entry.asset, assets)
        known = hint or f"; it has {listed(assets) or 'none'}"
        raise LabelError(f"has no label asset {entry.asset!r} in the catalog (data.asset){known}")
    if training.border and label_kind(Path(label.href)) == "vector":
        label = replace(label, border=training.border)
    if entry.classes is None:
        return label
    ids = {klass.name: number for number, klass in enumerate(training.classes)}
    named = {value: IGNORE if name is None else ids[name] for value, name in entry.classes.items()}
    if label_kind(Path(label.href)) == "vector":
        if label.attribute is None:
            raise LabelError(
                f"data.classes maps values, but the catalog names no attribute of "
                f"{label.href} that holds them; add geoseg:attribute to the asset"
            )
        return replace(label, names=tuple(named.items()))
    try:
        return replace(label, classes=tuple((float(value), number) for value, number in named.items()))
    except ValueError as error:
        raise ConfigError(
            f"data.classes has a value that is not a number ({error}), but {label.href} is a raster"
        ) from error


def _disagreements(scenes: list[FileScene]) -> Iterator[GeosegError]:
    """Scenes whose values are of a kind that no contract states, or of another than the first one's."""
    first = scenes[0]
    for scene in scenes:
        if scene.value_dtype not in get_args(ValueType):
            yield SceneError(
                f"no model is made for values of {scene.value_dtype}: give data[{scene.entry}].stretch: "
                "[low, high] to bring them to 8 bits, or convert them to one of "
                f"{', '.join(get_args(ValueType))}",
                scene=scene.name,
            )
        elif (scene.bands, scene.value_dtype) != (first.bands, first.value_dtype):
            yield SceneError(
                f"{scene.bands} bands of {scene.value_dtype}, but scene {first.name} has "
                f"{first.bands} of {first.value_dtype}: give data[{scene.entry}].bands, or "
                f"data[{scene.entry}].stretch: [low, high] to bring both to 8 bits",
                scene=scene.name,
            )
