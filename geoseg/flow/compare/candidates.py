"""The models of a comparison: checked, planned and narrowed to the same scenes before anything is mapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.config.model.contract import ClassSpec
from geoseg.config.slug import scene_slug
from geoseg.config.stac.refs import LabelRef, SceneRef
from geoseg.engine.plan import Plan
from geoseg.errors import ConfigError, GeosegError, LabelError
from geoseg.flow.evaluate.evaluate import pairs_of
from geoseg.flow.evaluate.scene import Pair, label_reader
from geoseg.flow.run.prepare import Prepared, prepare
from geoseg.grid.encoding import IGNORE
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window
from geoseg.io.raster.cog import strip_rows
from geoseg.models.bundle import Bundle, load_bundle
from geoseg.score.report.values import Unscored
from geoseg.words import counted

__all__ = ["Candidate", "candidates_of", "labeled_scenes", "narrowed"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model and its run."""

    name: str
    """Of its bundle's folder, told apart where several have the same."""
    bundle: Bundle
    """The model."""
    prepared: Prepared
    """Its plans."""
    overrides: Mapping[str, Any]
    """What makes them of the workflow."""

    @property
    def plans(self) -> dict[str, Plan]:
        """By scene."""
        return {plan.scene.ref.id: plan for plan in self.prepared.plans}

    @property
    def machine(self) -> str:
        """Where it runs, in words."""
        runtime = self.prepared.runtime
        return (
            f"this machine's {runtime.device} ({runtime.processor}, {runtime.precision}, "
            f"{counted(runtime.threads, 'thread')} a worker, "
            f"torch {runtime.torch})"
        )


def candidates_of(
    path: Path, models: Sequence[str], settings: Mapping[str, Any], folder: Path
) -> list[Candidate]:
    """Each model with its plans: whatever is wrong with one is said before anything is mapped.

    Args:
        path: workflow file.
        models: names of shipped bundles, or paths.
        settings: overrides of all.
        folder: each model's run gets a folder in it.

    Raises:
        ConfigError: a model is named twice, or has other classes than the first one.
        BundleError, CatalogError, GridError, RunError: as :func:`~geoseg.flow.run.prepare.prepare`.
    """
    bundles = [load_bundle(model) for model in models]
    for place, bundle in enumerate(bundles):
        if bundle.spec.identity in {other.spec.identity for other in bundles[:place]}:
            raise ConfigError(f"--model {models[place]}: is the same model as another one; name each once")
    names = names_of([(bundle.folder.name, bundle.spec.identity) for bundle in bundles])
    first = bundles[0].spec
    for name, bundle in zip(names, bundles, strict=True):
        theirs = [one.name for one in bundle.spec.classes]
        if theirs != [one.name for one in first.classes]:
            raise ConfigError(
                f"--model {name}: maps {', '.join(theirs)} but {names[0]} maps "
                f"{', '.join(one.name for one in first.classes)}; only models of the same classes compare"
            )
    found = []
    for name, bundle in zip(names, bundles, strict=True):
        own = {**settings, "model": str(bundle.folder), "output": str(folder / scene_slug(name))}
        found.append(Candidate(name, bundle, prepare(path, own), own))
    return found


def labeled_scenes(
    candidates: Sequence[Candidate], asset: str | None, reference: LabelRef | None
) -> tuple[list[SceneRef], list[Unscored]]:
    """The scenes that every model can map and that have labels; and why the others are left out.

    Raises:
        LabelError: labels hold classes that the models have not, or no scene is left.
    """
    first = candidates[0]
    unscored = {
        refusal.scene: f"{one.name}: {refusal.reason}" if len(candidates) > 1 else refusal.reason
        for one in candidates
        for refusal in one.prepared.refused
    }
    refs = [plan.scene.ref for plan in first.prepared.plans if plan.scene.ref.id not in unscored]
    spec, workflow = first.bundle.spec, first.prepared.loaded.workflow
    bands = workflow.scenes.bands or spec.bands
    pairs, without = pairs_of(
        first.prepared.loaded.output, refs, bands=bands, asset=asset, reference=reference
    )
    unscored |= {one.scene: one.reason for one in without}
    plans = first.plans
    labeled = set()
    for pair in pairs:
        try:
            beyond = _beyond(pair, plans[pair.scene].grid, spec.classes)
        except GeosegError as error:
            told = str(error)
            unscored[pair.scene] = told if pair.scene in told else f"scene {pair.scene}: {told}"
            continue
        if beyond is not None:
            raise LabelError(
                f"scene {pair.scene}: labels {pair.label.href} hold class {beyond}, but the model "
                f"{first.name} has {len(spec.classes)} classes, 0 to {len(spec.classes) - 1} "
                f"({', '.join(one.name for one in spec.classes)}); name other labels or another model"
            )
        labeled.add(pair.scene)
    left = [Unscored(scene=scene, reason=reason) for scene, reason in unscored.items()]
    if not labeled:
        more = f" ({len(left) - 1} more cannot be scored)" if len(left) > 1 else ""
        raise LabelError(f"{left[0].reason}{more}" if left else "the catalog has no scene to score")
    return [ref for ref in refs if ref.id in labeled], left


def _beyond(pair: Pair, grid: GeoBox, classes: Sequence[ClassSpec]) -> int | None:
    """The first class id of the labels that the model has not; None: it has all.

    Raises:
        LabelError: the labels cannot be read, do not overlap, or label nothing.
        SceneError: the scene, which they count in, cannot be opened.
    """
    labels = label_reader(pair, grid)
    rows, labeled = strip_rows(grid.width), False
    for row in range(0, grid.height, rows):
        ids = labels.read(Window(row, 0, min(rows, grid.height - row), grid.width))
        strange = (ids != IGNORE) & (ids >= len(classes))
        if strange.any():
            return int(np.unique(ids[strange])[0])
        labeled = labeled or bool((ids != IGNORE).any())
    if not labeled:
        raise LabelError(f"labels {pair.label.href}: label no pixel of the scene; check the labeled area")
    return None


def narrowed(path: Path, one: Candidate, scenes: Sequence[str], everyone: Sequence[Candidate]) -> Candidate:
    """A model's run of some scenes alone, all models on the same pixels.

    Raises:
        GeosegError: as :func:`candidates_of`.
    """
    own = {**one.overrides, "scenes.ids": list(scenes)}
    grids = [[other.plans[scene].grid for scene in scenes] for other in everyone]
    if any(grid != grids[0] for grid in grids):
        own["write.grid"] = "scene"
    return Candidate(one.name, one.bundle, prepare(path, own), own)


def names_of(models: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Names that tell models apart: a name that several have gets the start of each one's identity.

    Args:
        models: name and identity of each.

    >>> names_of([("a", "11112222ff"), ("b", "0"), ("a", "33334444ff")])
    ('a-11112222', 'b', 'a-33334444')
    """
    names = [name for name, _ in models]
    return tuple(name if names.count(name) == 1 else f"{name}-{identity[:8]}" for name, identity in models)
