"""``geoseg vectorize``: the polygon stage alone, on a raster of probabilities or class ids of any tool."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg._version import __version__
from geoseg.config.digest import digest
from geoseg.config.layer_name import is_layer_name
from geoseg.config.section import Section
from geoseg.config.slug import scene_slug
from geoseg.config.stac.refs import Trust
from geoseg.config.vectorize import Vectorize
from geoseg.engine.bounds import POLYGON_STRIP
from geoseg.engine.loops.exercise import compile_loops
from geoseg.engine.vectorize import CLASS_IDS, ClassMap, ProbabilityRaster, find_class_shapes, find_shapes
from geoseg.errors import ConfigError, GridError, OutputError, SceneError
from geoseg.grid.encoding import ProbabilityEncoding
from geoseg.io.qgis.colors import class_colors
from geoseg.io.qgis.style import ClassStyle, polygons_qml
from geoseg.io.raster.score_raster import (
    MOST_CLASSES,
    AnyKind,
    Kind,
    ScoreRaster,
    ScoreReader,
    describe_scores,
)
from geoseg.io.vector.arrow import check_format
from geoseg.io.vector.features import Features, LayerStyle, features_of
from geoseg.io.vector.writer import FORMATS, layer_files, write_features
from geoseg.io.yaml.config_file import FileKind, read_overrides
from geoseg.polygons.attributes import FIELDS, Provenance
from geoseg.polygons.geodesic import AreaMeter
from geoseg.polygons.shapes import Shapes
from geoseg.words import did_you_mean, listed

__all__ = ["polygon_layer", "vectorize", "vectorize_options"]

_OF_PROBABILITY: Final = ("threshold", "peak", "split")
"""Keys that mean nothing where there are class ids alone."""
_LAYER_LENGTH: Final = 50
_GROUND: Final = "#eceff1"
"""Color of a background without one."""
_CONFIDENCES: Final = ("conf_mean", "conf_p10", "conf_edge")


class _Settings(Section):
    """What ``--set`` may say."""

    vectorize: Vectorize = Vectorize()


_KIND: Final = FileKind(
    _Settings, word="workflow", needs="nothing", example="vectorize: {mode: objects}", paths=frozenset()
)


@dataclass(frozen=True, slots=True)
class _RasterClass:
    """One class, its color as ``#rrggbb``."""

    id: int
    name: str
    color: str
    background: bool = False
    """Whether it is what lies between the objects."""


@dataclass(frozen=True, slots=True)
class Vectorized:
    """What was made."""

    file: Path
    layer: str
    kind: Kind
    """What the raster's values were taken for."""
    mode: str
    polygons: int
    classes: tuple[tuple[int, str], ...]
    """Id and name of each class that was outlined."""
    run_id: str
    """Id of raster, options and version, as in the layer."""
    warnings: tuple[str, ...] = ()
    """What its user should know of the raster, each in one sentence."""

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "file": str(self.file),
            "layer": self.layer,
            "kind": self.kind,
            "mode": self.mode,
            "polygons": self.polygons,
            "classes": [{"id": number, "name": name} for number, name in self.classes],
            "run_id": self.run_id,
            "warnings": list(self.warnings),
        }


def vectorize(
    raster: Path,
    output: Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    kind: AnyKind = "auto",
    names: Mapping[int, str] | None = None,
    trust: Trust = "catalog",
    mask: Path | None = None,
    overwrite: bool = False,
) -> Vectorized:
    """Make polygons of a raster.

    Args:
        raster: probabilities (one band: a class against its background; several: a band per class, of which
            the largest decides; of a model that knows borders: its class and the border) or class ids (one
            band). Class ids count from 0 with the bands, and the only class of one band is 1.
        output: file to write; its ending says the format.
        overrides: ``vectorize.…`` keys, as in a workflow.
        kind: what the values are; auto: class ids where they are whole numbers without a scale.
        names: class id → name, over what the raster says.
        mask: raster of the same grid whose first band is 0 where there is no data.

    Raises:
        ConfigError: a mistake in the options; all of them are found before a pixel is read.
        SceneError: the raster cannot be vectorized; found before anything is written.
        OutputError: the file is there already, or cannot be written.
    """
    options, given = _options(output, overrides or {})
    _check_files(raster, output, overwrite=overwrite)
    scores = describe_scores(raster, kind, trust, mask)
    try:
        with ScoreReader(scores, POLYGON_STRIP) as reader:
            made = polygon_layer(reader, options, given, names or {})
            count = write_features(
                output,
                options.layer,
                made.features,
                geobox=scores.scene.geobox,
                schema=FIELDS,
                style=LayerStyle(polygons_qml(made.styles)),
                description=f"{scores.scene.ref.id}: {', '.join(name for _, name in made.classes)}",
            )
    except GridError as error:
        raise SceneError(f"{raster}: {error}") from error
    return Vectorized(
        file=output,
        layer=options.layer,
        kind=scores.kind,
        mode=made.mode,
        polygons=count,
        classes=made.classes,
        run_id=made.run_id,
        warnings=made.warnings,
    )


def vectorize_options(overrides: Mapping[str, Any]) -> Vectorize:
    """Options from ``vectorize.…`` keys; ConfigError lists every mistake."""
    return read_overrides(overrides, _KIND).vectorize


def _options(output: Path, overrides: Mapping[str, Any]) -> tuple[Vectorize, frozenset[str]]:
    """Options with layer and format of the output's name, and the keys that were given."""
    options = vectorize_options(overrides)
    given = frozenset(options.model_fields_set)
    formats = {ending: name for name, ending in FORMATS.items()}
    if output.suffix not in formats:
        raise ConfigError(f"{output}: needs the ending of a format: {', '.join(formats)}")
    found = formats[output.suffix]
    if "format" in given and options.format != found:
        raise ConfigError(
            f"--set: vectorize.format: is {options.format}, but {output.name} ends in {output.suffix}; leave "
            f"it out, or write {output.with_suffix(FORMATS[options.format]).name}"
        )
    if options.merge:
        raise ConfigError("--set: vectorize.merge: joins the scenes of a run, and there is one raster here")
    check_format(found)
    layer = options.layer if "layer" in given else layer_name(output.stem)
    return options.model_copy(update={"format": found, "layer": layer}), given


def layer_name(stem: str) -> str:
    """A layer's name, made of that of its file.

    >>> layer_name("roofs"), layer_name("2026-roofs (new)"), layer_name("probability"), layer_name("屋根")
    ('roofs', 'layer_2026_roofs_new', 'polygons_probability', 'polygons')
    """
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_]+", "_", plain).strip("_")[:_LAYER_LENGTH].rstrip("_") or "polygons"
    if not name[0].isalpha():
        name = f"layer_{name}"
    return name if is_layer_name(name) else f"polygons_{name}"


def _check_files(raster: Path, output: Path, *, overwrite: bool) -> None:
    """Refuse to replace files that are there, the raster and its style among them."""
    files = layer_files(output)
    for path in files:
        if path.exists() and not overwrite:
            raise OutputError(f"{path} is there already; give another name, or --overwrite")
    if output.suffix != FORMATS["gpkg"] and files[1].resolve() == raster.with_suffix(".qml").resolve():
        raise OutputError(
            f"{files[1]}, the layer's style, would be taken for the raster's; give another name"
        )
    if output.exists() and raster.exists() and output.samefile(raster):
        raise OutputError(f"{output} is the raster itself; give another name")


@dataclass(frozen=True, slots=True)
class PolygonLayer:
    """The polygons of a raster, before they are written."""

    mode: str
    classes: tuple[tuple[int, str], ...]
    """Id and name of each class that is outlined."""
    styles: tuple[ClassStyle, ...]
    """Their colors; those of all classes of the raster where none is outlined."""
    features: Iterator[Features]
    run_id: str
    """Id of raster, options and version, as in the layer."""
    warnings: tuple[str, ...]
    """What its user should know of the raster, each in one sentence."""


def polygon_layer(
    reader: ScoreReader, options: Vectorize, given: AbstractSet[str], names: Mapping[int, str]
) -> PolygonLayer:
    """Read a raster once to find what is wrong; its polygons are made when they are asked for.

    ``given`` are the options that were given, not defaults; ``names`` (by class id) go over the raster's own.

    Raises:
        ConfigError: options that mean nothing for this raster, or a class that it does not have.
        SceneError: the raster cannot be vectorized.
    """
    raster = reader.raster
    scene, binary = raster.scene, raster.kind == "probability" and _is_binary(raster)
    try:
        AreaMeter.check(scene.geobox)
    except GridError as error:
        raise SceneError(f"{raster.href}: {error}") from error
    if raster.kind == "classes":
        for key in _OF_PROBABILITY:
            if key in given:
                raise ConfigError(f"vectorize.{key}: needs probabilities, and {raster.href} holds class ids")
        known, doubts = _known(reader.found_ids(named=bool(names)), names), tuple[str, ...]()
        classes = _classes_of(raster, known.tolist(), names)
    else:
        doubts = reader.check_probabilities()
        known = np.arange(2 if binary else len(scene.bands), dtype=np.int32)
        classes = _classes_of(raster, [1] if binary else known.tolist(), names)
    if options.split.method == "border" and not raster.border:
        raise ConfigError(
            f"vectorize.split.method: border needs a band for it, as runs with such a model write it, and "
            f"{raster.href} has none; use auto, seeds or necks"
        )
    options = options.resolved(binary=binary, border=raster.border)
    chosen = _chosen_classes(classes, options, str(raster.href))
    run_id = _run_id(raster, options, classes)
    shapes = _shapes(reader, known, [c.id for c in chosen], options)
    provenance = Provenance(scene.ref.id, scene_slug(scene.ref.id), "", "", run_id, scene.ref.acquired)
    features = features_of(
        shapes, scene.geobox, {known.tolist().index(c.id): c.name for c in chosen}, provenance
    )
    return PolygonLayer(
        mode=str(options.mode),
        classes=tuple((c.id, c.name) for c in chosen),
        styles=tuple(ClassStyle(c.id, c.name, c.color) for c in chosen or classes),
        features=_with_known(features, known, with_confidence=raster.kind == "probability"),
        run_id=run_id,
        warnings=(*scene.warnings, *doubts),
    )


def _classes_of(raster: ScoreRaster, ids: Sequence[int], names: Mapping[int, str]) -> list[_RasterClass]:
    """The classes of a raster with these ids: of probabilities as many as bands of classes, in their order.

    Names go over the band descriptions. Class 0 of a class raster is background unless named. Colors are
    those of the raster's color table where it tells the classes apart, else by their rank.
    """
    for number in names:
        if number not in ids:
            raise ConfigError(
                f"--class {number}={names[number]}: {raster.href} has no class {number}; its bands stand for "
                f"{listed(map(str, ids))}"
            )
    described = dict(zip(ids, raster.names[: len(ids)], strict=True)) if raster.kind == "probability" else {}
    shown = [number for number in ids if raster.kind != "classes" or number != 0 or number in names]
    colors = {number: raster.colors[number] for number in shown if number in raster.colors}
    if len(set(colors.values())) < len(shown):
        colors = dict(zip(shown, class_colors(len(shown)), strict=True))
    return [
        _RasterClass(number, names.get(number) or described.get(number) or f"class_{number}", colors[number])
        if number in colors
        else _RasterClass(number, "background", raster.colors.get(number, _GROUND), background=True)
        for number in ids
    ]


def _chosen_classes(classes: Sequence[_RasterClass], options: Vectorize, href: str) -> list[_RasterClass]:
    """Those to outline: the ones that options name, else all but the background (in a coverage, all)."""
    names = [c.name for c in classes]
    for name in options.classes or ():
        if name not in names:
            raise ConfigError(
                f"--set: vectorize.classes: {href} has no class {name!r}, only {listed(names)}"
                f"{did_you_mean(name, names)}"
            )
    return [c for c in classes if options.outlines(c.name, background=c.background)]


def _is_binary(raster: ScoreRaster) -> bool:
    return len(raster.scene.bands) == 1 or raster.border


def _known(found: NDArray[np.int32], names: Mapping[int, str]) -> NDArray[np.int32]:
    """Ids of a class raster and of its names, so that rasters of one kind have the same legend."""
    for number in names:
        if abs(number) > np.iinfo(np.int32).max:
            raise ConfigError(
                f"--class {number}={names[number]}: {number} is not a class id; give a smaller one"
            )
    known = np.union1d(found, np.array(sorted(names), np.int32)).astype(np.int32)
    if known.size > MOST_CLASSES:
        raise ConfigError(
            f"--class: with these names there are {known.size} classes, at most {MOST_CLASSES} are "
            "possible; name fewer"
        )
    return known


def _shapes(
    reader: ScoreReader, known: NDArray[np.int32], wanted: list[int], options: Vectorize
) -> Iterator[Shapes]:
    """Polygons whose classes are places among the ids known."""
    raster, grid = reader.raster, reader.raster.scene.geobox
    places = [known.tolist().index(number) for number in wanted]
    compile_loops(options.mode)
    if raster.kind == "classes":
        ids = ClassMap(grid, CLASS_IDS, lambda: reader.class_ids(known), max(2, known.size))
        return find_class_shapes(ids, places, options)
    encoding = (
        ProbabilityEncoding(2, 0, options.threshold, raster.border)
        if _is_binary(raster)
        else ProbabilityEncoding(len(raster.scene.bands), None)
    )
    return find_shapes(ProbabilityRaster(grid, encoding, reader.probabilities), places, options)


def _with_known(
    batches: Iterator[Features], known: NDArray[np.int32], *, with_confidence: bool
) -> Iterator[Features]:
    """Features with the raster's own class ids, and nulls for what is unknown."""
    for batch in batches:
        count = len(batch.geometry)
        values = dict(batch.attributes)
        values["class_id"] = known[values["class_id"]]
        values |= {name: np.full(count, None, np.object_) for name in ("model", "model_sha256")}
        if not with_confidence:
            values |= {name: np.full(count, np.nan) for name in _CONFIDENCES}
        yield Features(batch.geometry, values)


def _run_id(raster: ScoreRaster, options: Vectorize, classes: list[_RasterClass]) -> str:
    """Short name of all that decides the layer."""
    content = {
        "geoseg": __version__,
        "raster": [raster.scene.ref.id, raster.scene.identity, raster.kind],
        "vectorize": options.model_dump(mode="json"),
        "classes": [(c.id, c.name) for c in classes],
    }
    return digest(content)[:16]
