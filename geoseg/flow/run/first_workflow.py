"""``geoseg init``: a first workflow for one's own images, short and commented."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from geoseg.config.model.contract import BundleSpec
from geoseg.config.stac.refs import SceneRef, Trust
from geoseg.config.workflow import Scenes
from geoseg.engine.contract import fitting_stretch, image_of, sample_scene
from geoseg.errors import CatalogError, OutputError, SceneError
from geoseg.grid.ground import model_grid
from geoseg.io.files import write_text
from geoseg.io.raster.scene import AS_DECLARED, Reading
from geoseg.io.stac.folder import open_catalog
from geoseg.models.bundle import load_bundle

__all__ = ["FirstWorkflow", "write_first_workflow"]

_LOOKED_AT = 8
"""Scenes whose pixels a stretch is fitted to: others may be darker or brighter; `geoseg check` says so."""

_TEXT = """\
# Maps of {what}. Every key and its meaning: geoseg schema
#
#   geoseg check {file}
#   geoseg run {file}

catalog: {catalog} # a folder of images, or a STAC catalog that `geoseg catalog FOLDER -o FILE` makes
model: {model} # or another one: geoseg models list
# output: maps # where the maps go; else runs/{name} in the working directory

{scenes}
vectorize:
  layer: {layer}
  # mode: exact # objects, coverage or exact: how polygons are made
  # min_area: 20 m2 # smaller polygons are left out
  # merge: true # one layer of all scenes, too, each object once
"""
_NO_NEEDS = """\
# scenes:
#   nodata: 255 # a border without a tag; every key: docs/data.md"""


@dataclass(frozen=True, slots=True)
class FirstWorkflow:
    """What was written."""

    path: Path
    scenes: int


def write_first_workflow(
    images: Path, path: Path | None = None, *, model: str = "buildings-liteunet", trust: Trust = "catalog"
) -> FirstWorkflow:
    """Write a workflow for a folder of images, an image, a pattern or a catalog; a file that is there stays.

    Bands and stretch are in it where the images need them: gray images for a model of colors, values of more
    than 8 bits for a model of 8 bits.

    Args:
        images: what becomes the workflow's ``catalog``.
        path: file to write; None: ``NAME.yaml`` in the working directory, called like the images.
        model: a shipped model's name, or the path of a bundle.

    Raises:
        CatalogError: there are no images.
        BundleError: there is no such model.
        OutputError: the file is there already, or cannot be written.
    """
    bundle = load_bundle(model)
    refs = open_catalog(images, trust).scenes
    if not refs:
        raise CatalogError(f"{images}: none of its images can be mapped; see geoseg catalog {images} -o FILE")
    places = (images.absolute(), *images.absolute().parents)
    stem = next((place.stem for place in places if place.exists() or not glob.has_magic(place.name)), "")
    name = re.sub(r"[^a-z0-9_]+", "-", stem.lower()).strip("-") or "maps"
    path = Path(f"{name}.yaml") if path is None else path
    if path.exists():
        raise OutputError(f"{path} is there already; name another file with -o")
    bands, stretch = _needs(refs, bundle.spec)
    lines = []
    if bands is not None:
        lines.append(f"bands: {list(bands)} # gray images: their band is each of the model's")
    if stretch is not None:
        lines.append(f"stretch: [{stretch[0]:.10g}, {stretch[1]:.10g}] # they become black and white")
    scenes = "\n".join(("scenes:", *(f"  {line}" for line in lines))) if lines else _NO_NEEDS
    only = bundle.spec.only_class
    text = _TEXT.format(
        what=_yaml(str(images)),
        file=path,
        name=name,
        catalog=_yaml(_beside(images, path.absolute().parent)),
        model=_yaml(model if model == bundle.spec.name else _beside(Path(model), path.absolute().parent)),
        scenes=scenes,
        layer="polygons" if only is None else f"{only}s" if only == "building" else only,
    )
    write_text(path, text)
    return FirstWorkflow(path, len(refs))


def _needs(
    refs: Sequence[SceneRef], spec: BundleSpec
) -> tuple[tuple[int, ...] | None, tuple[float, float] | None]:
    """Bands and stretch that images need for a model; None: none. `check` says what else is wrong."""
    bands = (1,) * len(spec.bands) if len(spec.bands) > 1 and _are_gray(refs) else None
    reading = Reading.of(Scenes(bands=bands), spec.bands)
    stretches: list[tuple[float, float]] = []
    for ref in refs[:_LOOKED_AT]:
        with suppress(SceneError):
            scene = reading.describe(ref)
            if len(scene.bands) == len(spec.bands) and spec.value_dtype == "uint8" != image_of(scene).dtype:
                grid = model_grid(scene.geobox, spec.resolution, spec.resolution_tolerance)
                stretches.append(fitting_stretch(sample_scene(scene, grid)))
    if not stretches:
        return bands, None
    return bands, (min(low for low, _ in stretches), max(high for _, high in stretches))


def _are_gray(refs: Sequence[SceneRef]) -> bool:
    """Whether all scenes that can be read have one band; one of colors would be mapped from its first."""
    found = False
    for ref in refs:
        with suppress(SceneError):
            if len(AS_DECLARED.describe(ref).bands) != 1:
                return False
            found = True
    return found


def _beside(path: Path, folder: Path) -> str:
    """A path as a file in a folder names it."""
    return Path(os.path.relpath(path.absolute(), folder)).as_posix()


def _yaml(text: str) -> str:
    """Text as a YAML scalar: plain where that is safe, else in quotes."""
    return (
        text
        if re.fullmatch(r"[\w./-]+", text) and not text.startswith("-")
        else json.dumps(text, ensure_ascii=False)
    )
