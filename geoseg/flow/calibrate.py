"""Calibrate a model: from scored objects to a bundle that knows how often such objects are right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.config.model.contract import LEAST_OBJECTS, Calibration
from geoseg.engine.finished import ITEM_NAME
from geoseg.errors import BundleError, LabelError, OutputError
from geoseg.flow.evaluate.objects import ERRORS_LAYER, read_columns
from geoseg.io.vector.reader import layer_info
from geoseg.models.bundle import Bundle
from geoseg.models.saving import changed_bundle
from geoseg.polygons.attributes import CONFIDENCE
from geoseg.score.objects.matching import LEAST_IOU
from geoseg.score.objects.tally import binned_confidence
from geoseg.score.pixels.calibration import calibration_errors
from geoseg.score.pixels.isotonic import fit_isotonic
from geoseg.words import listed

__all__ = ["Calibrated", "Scored", "calibrate", "halves_errors", "reliability_error"]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Mapped objects of one or several scenes, each array of shape (n,); right ones stand for a true one."""

    confidence: NDArray[np.float64]
    """Mean probability of each, 0 to 1."""
    is_right: NDArray[np.bool_]
    is_north: NDArray[np.bool_]
    """Whether it is of the northern half of its scene's objects."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The objects of several scenes as one."""
        return cls(*(np.concatenate([getattr(one, name) for one in parts]) for name in cls.__slots__))


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The calibrated model and its errors before and after, see :func:`halves_errors`."""

    bundle: Bundle
    calibration: Calibration
    share_right: float
    """Share of the objects that are right."""
    error_before: float
    error_after: float


def calibrate(bundle: Bundle, errors: Sequence[Path], folder: Path) -> Calibrated:
    """Fit a calibration to scored objects and write the bundle that has it.

    Args:
        bundle: a model of one class and a background.
        errors: ``errors.gpkg`` of scenes that it mapped, with ``mode: objects``, and that were scored.
        folder: of the new bundle; made when absent, a bundle in it is replaced.

    Raises:
        BundleError: the model has other classes, or cannot be read.
        LabelError: there are too few objects, or a calibration does not lower the error of held-out halves.
        OutputError: a file cannot be read, is given twice, is of another model or mode, or the bundle cannot
            be written.
    """
    name = bundle.spec.only_class
    if name is None:
        raise BundleError(
            f"{bundle.spec.name} has the classes {listed(c.name for c in bundle.spec.classes)}; a "
            "calibration is of one class against a background"
        )
    if len({path.resolve() for path in errors}) < len(errors):
        raise OutputError("a file of errors is given twice; its objects would count twice")
    scenes, parts, odd = [], [], 0
    for path in errors:
        scenes.append(_scene(path, bundle))
        parts.append(_read(path, name, odd))
        odd = (odd + parts[-1].is_right.size) % 2
    found = Scored.joined(parts)
    count = found.is_right.size
    if count < LEAST_OBJECTS:
        raise LabelError(
            f"{count} scored objects are too few to calibrate {bundle.spec.name}: needed {LEAST_OBJECTS} or "
            "more; give --errors of more scenes"
        )
    before, after = halves_errors(found)
    if after >= before:
        raise LabelError(
            f"a calibration of {bundle.spec.name} would not help: fitted to half of the {count} objects, "
            f"it takes the error of the other from {before:.3f} to {after:.3f}; nothing is written: give "
            "--errors of more scenes, or leave the model as it is"
        )
    curve = fit_isotonic(found.confidence, found.is_right)
    calibration = Calibration(
        class_name=name,
        knots=tuple(zip(curve.confidence.tolist(), curve.true.tolist(), strict=True)),
        objects=count,
        data=f"Objects of IoU {LEAST_IOU} or more are right; scenes: {listed(scenes)}"[:2000],
    )
    return Calibrated(
        changed_bundle(bundle, {"calibration": calibration}, folder),
        calibration,
        share_right=float(found.is_right.mean()),
        error_before=before,
        error_after=after,
    )


def reliability_error(confidence: NDArray[np.float64], is_right: NDArray[np.bool_]) -> float:
    """Expected calibration error, 0 to 1, of at least one confidence and whether it was right, (n,)."""
    return float(calibration_errors(binned_confidence(confidence, is_right))[0])


def halves_errors(found: Scored) -> tuple[float, float]:
    """Calibration error of halves as they are, and of each calibrated by what was fitted to the other.

    Halves are north and south of each scene, not drawn by lot: neighbors are alike, and what is calibrated
    is to hold elsewhere. Each is measured alone, then weighted by its objects: what one half is told too much
    the other is told too little, which would cancel out.
    """
    total = np.zeros(2)
    for half in (found.is_north, ~found.is_north):
        curve = fit_isotonic(found.confidence[~half], found.is_right[~half])
        stated, right = found.confidence[half], found.is_right[half]
        errors = [reliability_error(one, right) for one in (stated, curve.apply(stated))]
        total += right.size * np.array(errors)
    before, after = (total / found.is_right.size).tolist()
    return before, after


def _scene(path: Path, bundle: Bundle) -> str:
    """Id of the scene whose errors a file holds, if this model made its objects."""
    beside = path.with_name(ITEM_NAME)
    try:
        item: Any = json.loads(beside.read_text(encoding="utf-8"))
        scene, properties = str(item["id"]), item["properties"]
        model, mode = properties["geoseg:model"], properties["geoseg:mode"]
        made_by, sha256 = str(model["name"]), str(model["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        if not path.is_file():
            raise OutputError(
                f"{path} does not exist; geoseg evaluate writes errors.gpkg beside each map that it scores"
            ) from error
        raise OutputError(
            f"{beside} does not say which model made the objects of {path.name}, and how; give errors that "
            "geoseg evaluate wrote into the folder of a scene that geoseg run has mapped, else map it again"
        ) from error
    if sha256 != bundle.spec.sha256:
        raise OutputError(
            f"{path}: its objects were made by {made_by} of other weights ({sha256:.16}…); needed those of "
            f"{bundle.spec.name} ({bundle.spec.sha256:.16}…)"
        )
    if mode != "objects":
        raise OutputError(
            f"{path}: its polygons are of mode {mode}; a calibration is fitted to vectorize.mode: objects"
        )
    return scene


def _read(path: Path, name: str, odd: int) -> Scored:
    """The mapped objects of a scene; ``odd``: 1 where an odd number came before, its middle in the south."""
    if CONFIDENCE not in layer_info(path, ERRORS_LAYER).kinds:
        raise OutputError(f"{path} has no field {CONFIDENCE}; score the map again with geoseg evaluate")
    text = dict.fromkeys(("side", "class_name", "error"), np.object_)
    shapes, side, class_name, error, sure = read_columns(path, ERRORS_LAYER, {**text, CONFIDENCE: np.float64})
    mapped = (side == "map") & (class_name == name)
    is_share = (sure >= 0) & (sure <= 1)
    if not is_share[mapped].all():
        raise OutputError(f"{path}: {CONFIDENCE} of a mapped object is not 0 to 1; map the scene again")
    top = shapely.bounds(shapes[mapped])[:, 3]
    is_north = np.zeros(top.size, np.bool_)
    is_north[np.argsort(-top, kind="stable")[: (top.size + odd) // 2]] = True
    return Scored(sure[mapped].astype(np.float64), error[mapped] == "matched", is_north)
