"""Measure what a model's windows and precisions change, and write the bundle that knows it.

Whole scenes are mapped again and again: without windows' influence (the exact halo, fp32), with smaller
halos, and in lower precisions. What is compared are classes and probabilities as a run stores them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from geoseg.arrays import Bool, UInt8
from geoseg.config.model.contract import BundleSpec, Cropping, Measured
from geoseg.config.stac.refs import SceneRef
from geoseg.config.units import Pixels
from geoseg.config.workflow import Tiling, Workflow
from geoseg.engine.plan import Plan, make_plan
from geoseg.engine.predict import WindowPredictor, predict_and_stitch
from geoseg.errors import BundleError, SceneError
from geoseg.flow.evaluate.evaluate import label_of
from geoseg.flow.evaluate.scene import Pair, label_reader
from geoseg.grid.encoding import IGNORE, NODATA
from geoseg.grid.tiling import TileGrid, WindowAxis, WindowRows, align_up
from geoseg.io.raster.scene import Reading
from geoseg.io.raster.scene_reader import SceneReader
from geoseg.io.stac.folder import open_catalog
from geoseg.models.bundle import Bundle
from geoseg.models.predictor import Predictor
from geoseg.models.runtime import Runtime
from geoseg.models.saving import changed_bundle

__all__ = ["measure"]

_WINDOW: Final = Pixels.parse("1024 px")
"""Windows are larger where memory allows; smaller ones have more borders, and are judged more strictly."""
_NEAR: Final = 32
"""Pixels beside a border between windows."""
_FARTHEST_HALO: Final = 128
_HALO_STEP: Final = 16
_MOST_PIXELS: Final = 60_000_000
"""Of a scene: it is held in memory."""
_LEAST_SHARE: Final = 0.01
"""Of a class, of all pixels, for its area to be compared."""


def measure(
    bundle: Bundle,
    catalog: Path,
    folder: Path,
    *,
    asset: str | None = None,
    precisions: Sequence[str] = ("bf16",),
    note: Callable[[str], None] = lambda _: None,
) -> Bundle:
    """Measure a model on the scenes of a catalog and write a copy of its bundle that holds the figures.

    Args:
        bundle: with a graph; OpenVINO computes it.
        catalog: of scenes with labels, of at most 60 Mpx on the model's grid.
        folder: of the new bundle; made when absent, a bundle in it is replaced.
        asset: of the labels; None: the only one that a scene has.
        precisions: to compare with fp32.
        note: told what was found, as it is found.

    Raises:
        BundleError: the model has no graph, or a precision cannot be computed with it.
        CatalogError, LabelError, SceneError: a scene or its labels cannot be read.
        OutputError: the folder cannot be written.
    """
    fp32 = Runtime.of_model(bundle.spec, "cpu", "fp32", backend="openvino")
    found = open_catalog(catalog, "local", None)
    if found.refusals:
        raise SceneError(found.refusals[0].reason, scene=found.refusals[0].id)
    scenes = [_Scene.open(bundle, ref, fp32, asset) for ref in found.scenes]
    spec = bundle.spec
    cropping = _cropping(scenes, spec, note) if spec.exact_halo is not None else None
    spec = spec.model_copy(update={"cropping": cropping, "measured": ()})
    measured = []
    for precision in precisions:
        runtime = Runtime.of_model(spec, "cpu", precision, backend="openvino")
        for scene in scenes:
            figures = scene.compare(spec, fp32, runtime)
            note(f"{precision}: {_judged(figures)}")
            measured.append(figures)
    return changed_bundle(bundle, {"cropping": cropping, "measured": tuple(measured)}, folder)


def _judged(figures: Measured) -> str:
    verdict = "changes nothing that matters" if figures.is_harmless else "changes too much to be automatic"
    return f"{figures.text}: {verdict}"


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """A scene, planned, with its labels on the model's grid."""

    name: str
    bundle: Bundle
    plan: Plan
    labels: UInt8 | None

    @classmethod
    def open(cls, bundle: Bundle, ref: SceneRef, runtime: Runtime, asset: str | None) -> _Scene:
        workflow = Workflow.model_validate({"catalog": "none", "model": "given"})
        reading = Reading.of(workflow.scenes, bundle.spec.bands)
        plan = make_plan(reading.describe(ref), bundle, workflow, runtime, Path("unwritten"))
        if plan.grid.window.pixels > _MOST_PIXELS:
            raise SceneError(
                f"{plan.grid.window.pixels / 1e6:.0f} Mpx are too many to be measured at once; give a part "
                f"of at most {_MOST_PIXELS / 1e6:.0f} Mpx",
                scene=ref.id,
            )
        label = label_of(ref, asset)
        labels = None
        if label is not None:
            pair = Pair(ref.id, Path("unwritten"), label, lambda: plan.scene.stored)
            labels = label_reader(pair, plan.grid).read(plan.grid.window)
        return cls(ref.id, bundle, plan, labels)

    def stored(
        self, runtime: Runtime, tiling: Tiling, spec: BundleSpec, *, as_wide: bool = False
    ) -> tuple[UInt8, TileGrid]:
        """Encoded probabilities of the whole scene, uint8 (bands, rows, columns), and its windows.

        ``as_wide``: they reach past the scene's edges as far as past each other's, so that what differs from
        inference without windows is due to windows.
        """
        bundle = Bundle(spec, self.bundle.folder)
        workflow = Workflow.model_validate({"catalog": "none", "model": "given", "tiling": tiling})
        plan = make_plan(self.plan.scene, bundle, workflow, runtime, Path("unwritten"), sample=None)
        stitcher = plan.stitcher
        if as_wide:
            axes = (replace(axis, edge=axis.halo) for axis in (stitcher.tiles.rows, stitcher.tiles.cols))
            stitcher = replace(stitcher, tiles=TileGrid(*axes))
        with SceneReader(plan.scene, plan.grid) as reader:
            windows = WindowPredictor(reader, Predictor(bundle, runtime), plan.stretch)
            rows = WindowRows(0, 0, len(stitcher.tiles.rows))
            finished, _ = predict_and_stitch(stitcher, plan.encoding, plan.tiles.batch, rows, windows)
        return finished, stitcher.tiles

    def compare(self, spec: BundleSpec, fp32: Runtime, low: Runtime) -> Measured:
        """What a precision changes."""
        encoding = self.plan.encoding
        before, after = (
            encoding.classify(self.stored(runtime, Tiling(), spec)[0]) for runtime in (fp32, low)
        )
        valid = before != NODATA
        shown = [c.id for c in spec.classes if not c.background]
        shares = [float((before[valid] == k).mean()) for k in shown]
        changes = [
            float((after[valid] == k).mean()) / share - 1
            for k, share in zip(shown, shares, strict=True)
            if share >= _LEAST_SHARE
        ]
        assert low.precision in ("bf16", "fp16", "int8")
        return Measured(
            precision=low.precision,
            library=low.library,
            processor=low.processor,
            agreement=float((before[valid] == after[valid]).mean()),
            area_bias=max(changes, key=abs, default=0.0),
            iou=self._iou(after, shown),
            iou_fp32=self._iou(before, shown),
            data=f"{self.name}: {np.count_nonzero(valid)} pixels",
        )

    def _iou(self, classes: UInt8, shown: list[int]) -> float | None:
        """Mean over the classes that are shown and labeled."""
        if self.labels is None:
            return None
        counted = (self.labels != IGNORE) & (classes != NODATA)
        each = [
            np.count_nonzero((truth := self.labels == k) & (found := classes == k) & counted)
            / np.count_nonzero((truth | found) & counted)
            for k in shown
            if ((self.labels == k) & counted).any()
        ]
        return float(np.mean(each)) if each else None


def _cropping(scenes: Sequence[_Scene], spec: BundleSpec, note: Callable[[str], None]) -> Cropping | None:
    """The smallest halo that can be cropped without a seam; None: none that is tried."""
    blended = spec.model_copy(update={"cropping": None})
    fp32 = scenes[0].plan.runtime
    exact = [scene.stored(fp32, Tiling(halo="exact"), blended)[0] for scene in scenes]
    step, farthest = align_up(_HALO_STEP, spec.alignment), min(_FARTHEST_HALO, spec.exact_halo or 0)
    for halo in (*range(2 * step, farthest, step), farthest):
        tiling = Tiling(window=_WINDOW, halo=Pixels.parse(f"{halo} px"), blend="crop")
        found = [scene.stored(fp32, tiling, blended, as_wide=True) for scene in scenes]
        cropping = _agreement(scenes, exact, found, halo)
        note(
            f"halo {halo} px, windows of {cropping.window} px: {cropping.agreement:.4%} of classes agree, "
            f"{cropping.border_agreement:.4%} near borders; steps {cropping.step_ratio:.3f} times the exact"
        )
        if cropping.is_seamless:
            return cropping
    return None


def _agreement(
    scenes: Sequence[_Scene], exact: Sequence[UInt8], found: Sequence[tuple[UInt8, TileGrid]], halo: int
) -> Cropping:
    """Cropped windows against none."""
    counts = np.zeros(4)
    steps = np.zeros(2)
    for scene, reference, (stored, grid) in zip(scenes, exact, found, strict=True):
        classes = scene.plan.encoding.classify
        same, valid = classes(stored) == classes(reference), reference[0] != NODATA
        near = _near_borders(grid) & valid
        counts += [(same & valid).sum(), valid.sum(), (same & near).sum(), near.sum()]
        steps += [_steps(stored, grid), _steps(reference, grid)]
    if not counts[3]:
        raise BundleError(
            f"no scene is larger than a window of {found[0][1].rows.window} px, so that no border between "
            "windows can be measured; give larger scenes"
        )
    return Cropping(
        window=found[0][1].rows.window,
        halo=halo,
        agreement=counts[0] / counts[1],
        border_agreement=counts[2] / counts[3],
        step_ratio=steps[0] / steps[1] if steps[1] else 1.0,
        data=", ".join(scene.name for scene in scenes),
    )


def _borders(axis: WindowAxis) -> list[int]:
    """First pixels of the windows' cores but the first one."""
    return [axis.core(index)[0] for index in range(1, len(axis))]


def _near_borders(grid: TileGrid) -> Bool:
    near = np.zeros((grid.rows.length, grid.cols.length), np.bool_)
    for row in _borders(grid.rows):
        near[max(0, row - _NEAR) : row + _NEAR] = True
    for col in _borders(grid.cols):
        near[:, max(0, col - _NEAR) : col + _NEAR] = True
    return near


def _steps(stored: UInt8, grid: TileGrid) -> float:
    """Sum of the probabilities' steps across the borders between windows, where both sides are valid."""
    total = 0.0
    for axis, line in ((1, grid.rows), (2, grid.cols)):
        for place in _borders(line):
            before, after = (np.take(stored, at, axis).astype(np.int64) for at in (place - 1, place))
            valid = (before != NODATA) & (after != NODATA)
            total += float(np.abs(after - before)[valid].sum())
    return total
