"""From a workflow file to plans: everything that can be known before any work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geoseg.config.workflow import Workflow, category_ids
from geoseg.engine.contract import Findings, examine, sample_scene
from geoseg.engine.plan import Plan, check_classes, make_plan
from geoseg.engine.tiles import resolve_tiles
from geoseg.errors import CatalogError, ConfigError, GeosegError, OutputError, SceneError, of_scene
from geoseg.flow.run.runtime import resolve_runtime
from geoseg.grid.geobox import GeoBox
from geoseg.io.raster.sample import Sample
from geoseg.io.raster.scene import Reading, Scene
from geoseg.io.stac.folder import open_catalog
from geoseg.io.vector.arrow import check_format
from geoseg.io.yaml.files import LoadedWorkflow, load_workflow
from geoseg.models.bundle import Bundle, load_bundle
from geoseg.models.runtime import Runtime
from geoseg.polygons.geodesic import AreaMeter
from geoseg.words import did_you_mean, listed

__all__ = ["Prepared", "Refusal", "prepare"]

_PROPOSALS: Final = 8
"""Scenes that are sampled to propose a stretch: the thousands of an archive lack the same one."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A scene that is not mapped, and why."""

    scene: str
    reason: str
    """One sentence: what came, what was needed, what to do."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A workflow with its model, its plans and the scenes that cannot be planned."""

    loaded: LoadedWorkflow
    bundle: Bundle
    runtime: Runtime
    plans: tuple[Plan, ...]
    """One per scene that can be mapped, in the catalog's order."""
    refused: tuple[Refusal, ...]
    findings: Mapping[str, Findings]
    """What samples of the scenes' pixels show, by id; empty where none were taken."""
    notes: tuple[str, ...] = ()
    """What was left out of a folder that stands for a catalog, each in one sentence."""

    @property
    def unlabeled(self) -> str | None:
        """That the workflow asks for a score and no scene has labels to score against; None: not so."""
        evaluate = self.loaded.workflow.evaluate
        if evaluate is None or not self.plans or any(plan.scene.ref.labels for plan in self.plans):
            return None
        return f"no scene has the label asset {evaluate.asset!r}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know of the workflow as a whole, each in one sentence."""
        notes = (*self.notes, *self.computing)
        if self.unlabeled is None:
            return notes
        return (*notes, f"evaluate.asset: {self.unlabeled}, so none is scored")

    @property
    def computing(self) -> tuple[str, ...]:
        """What the user should know of the precision: what one that was asked for is known to change."""
        precision = self.loaded.workflow.compute.precision
        if precision in ("auto", "fp32"):
            return self.runtime.doubts
        known = [one.text for one in self.bundle.spec.measured if one.precision == precision]
        unknown = f"not measured for {self.bundle.spec.name}: geoseg models measure tells what it changes"
        lines = (f"compute.precision: {precision}: {text}" for text in known or [unknown])
        return (*self.runtime.doubts, *lines)

    @property
    def misnamed_labels(self) -> str | None:
        """That scenes have labels, but none those that the workflow asks to score against; None: not so."""
        evaluate, labels = self.loaded.workflow.evaluate, [plan.scene.ref.labels for plan in self.plans]
        keys = sorted({key for each in labels for key, _ in each})
        if evaluate is None or not keys or evaluate.asset in keys:
            return None
        hint = did_you_mean(evaluate.asset, keys) or f"; they have {listed(keys)}"
        return (
            f"{self.loaded.where('evaluate.asset')}: evaluate.asset: no scene has the label asset "
            f"{evaluate.asset!r}{hint}"
        )


def prepare(
    source: str | Path | Workflow,
    overrides: Mapping[str, Any] | None = None,
    *,
    sample: bool = False,
    load: bool = False,
) -> Prepared:
    """Load a workflow, its model and its catalog; open the scenes' headers; plan each scene.

    ``load``: load the network, too, where torch computes it; without it torch is not imported for a model
    that is as geoseg saved it. ``sample``: read a few windows of each scene, too, and refuse what a run's
    first task of it would refuse.

    Raises:
        ConfigError: the workflow has mistakes; all are listed.
        CatalogError: the catalog cannot be read, or has no such scene.
        BundleError: there is no such model, or its weights are not those of its contract.
        GridError: windows, halo and memory do not fit together.
        RunError: the device or precision asked for is not available.
    """
    loaded = load_workflow(source, overrides)
    workflow = loaded.workflow
    if workflow.vectorize is not None:
        try:
            check_format(workflow.vectorize.format)
        except OutputError as error:
            raise ConfigError(f"{loaded.where('vectorize.format')}: vectorize.format: {error}") from error
    bundle = load_bundle(loaded.model)
    check_classes(workflow, bundle)
    category_ids(workflow.evaluate, [one.name for one in bundle.spec.classes])
    catalog = open_catalog(loaded.catalog, workflow.scenes.trust, workflow.scenes.ids)
    runtime = resolve_runtime(workflow.compute, bundle, loaded.output)
    if load and runtime.backend == "torch":
        bundle.network()  # before the check, which then need not hash its weights again
    bundle.check()  # altered weights are one mistake, not one for each scene
    # Tiling that fits no scene of any size is one mistake, too.
    resolve_tiles((1, 1), bundle, workflow.tiling, workflow.compute.memory_bytes, runtime)
    plans: list[Plan] = []
    refused = [Refusal(r.id, r.reason) for r in catalog.refusals]
    reading = Reading.of(workflow.scenes, bundle.spec.bands)
    findings: dict[str, Findings] = {}
    proposals = _Proposals()
    for ref in catalog.scenes:
        try:
            with of_scene(ref.id):
                described = reading.describe(ref)
                plan = make_plan(described, bundle, workflow, runtime, loaded.output, sample=proposals.sample)
                _check_apart(plan)
                if plan.vectorize is not None:
                    AreaMeter.check(plan.grid)  # else the polygons would be refused when all is predicted
                if sample:
                    findings[ref.id] = examine(plan.scene, plan.grid, bundle.spec, plan.stretch)
            plans.append(plan)
        except GeosegError as error:
            refused.append(Refusal(ref.id, str(error)))
    if not plans and not refused:
        raise CatalogError(
            f"{loaded.catalog}: no scenes; make a catalog with `geoseg catalog FOLDER -o FILE`"
        )
    return Prepared(loaded, bundle, runtime, tuple(plans), tuple(refused), findings, catalog.notes)


class _Proposals:
    """Samples the first scenes that are refused without a stretch, and no others."""

    def __init__(self) -> None:
        self._left = _PROPOSALS

    @property
    def sample(self) -> Callable[[Scene, GeoBox], Sample] | None:
        """Reads the pixels that a proposal is made from; None: enough scenes were sampled."""
        return self._take if self._left else None

    def _take(self, scene: Scene, grid: GeoBox) -> Sample:
        self._left -= 1
        return sample_scene(scene, grid)


def _check_apart(plan: Plan) -> None:
    """Refuse to write a map into the folder of its scene: ``buildings.gpkg`` may be the reference there."""
    ref = plan.scene.ref
    labels = [href for _, label in ref.labels for href in (label.href, label.area_href) if href]
    for href in (*plan.scene.files, *labels):
        if Path(href).resolve().parent == plan.folder.resolve():
            raise SceneError(
                f"its map would go to {plan.folder}, where its own {Path(href).name} lies; "
                "choose another output"
            )
