"""From a trained network to a bundle: its contract, its halo, and how it came to be, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

import numpy as np
from pydantic import JsonValue

from geoseg.config.model.contract import BundleSpec, Metric, Scaling, ValueKind, ValueType
from geoseg.config.model.contract import Training as Origin
from geoseg.config.training.data import class_specs
from geoseg.config.training.presets import PRESETS
from geoseg.errors import BundleError, ConfigError
from geoseg.grid.tiling import align_up
from geoseg.grid.window import Window, mirrored
from geoseg.models.networks.registry import traits
from geoseg.models.predictor import measure_halo
from geoseg.training.data.index import value_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.arrays import Bool, Float32
    from geoseg.config.training.training_file import Training
    from geoseg.models.predictor import Predictor
    from geoseg.training.data.file_scene import FileScene
    from geoseg.training.data.index import SceneIndex
    from geoseg.training.data.scenes import LabeledScene
    from geoseg.training.validate import Score, Validation

__all__ = ["Seen", "Views", "arguments_of", "draft_spec", "measured_spec", "procedure_of", "views_of"]

_AGREEMENTS = (0.9999, 0.999, 0.995, 0.99, 0.98, 0.97, 0.95, 0.9, 0.5)  # asked of a halo, the best first
_SCORED = 512
"""Side of what is scored of a validation window at least, where the network does not depend on its size: with
a wide halo, windows of the chips' size would compute each pixel dozens of times."""
_CORE = 256  # side of what is compared where a halo is measured
_HALO_PIXELS = 3e6  # pixels of imagery that a halo is measured on, at most
_LEAST_REFLECTANCE, _MOST_REFLECTANCE = -0.2, 1.6  # snow and glint reach beyond 1
_HALO_WINDOWS = 8  # windows of it, at most


@dataclass(frozen=True, slots=True)
class Views:
    """The windows that a network is scored in."""

    window: int  # side, in pixels
    context: int  # pixels at its edges that are seen but not scored: the largest halo of such windows
    fixed: bool  # whether maps need windows of this size, because the weights know their padding


def views_of(training: Training) -> Views:
    """Windows of validation and maps.

    A network whose receptive field fits into half a chip sees in training what it sees in a map, so any
    window will do. Of any other the weights know the padding of their chips (or, with image pooling, their
    size): it is scored, and later run, in windows of the largest chip.

    Raises:
        ConfigError: chips too small for windows of six halos.
        BundleError: no such network, or an argument that it does not take.
    """
    found = traits(training.model.architecture, **arguments_of(training))
    side, alignment = max(training.chips.sides), found.alignment
    if found.receptive_field_radius is not None and 2 * found.receptive_field_radius <= side:
        halo = align_up(found.receptive_field_radius, alignment)
        return Views(max(side // alignment * alignment, _SCORED + 2 * halo), halo, fixed=False)
    if side < 6 * alignment:
        raise ConfigError(
            f"chips.size: {side} px are too few for {training.model.architecture}, whose receptive field is "
            f"larger: its maps are made in windows of that size with a halo of at least {alignment} px on "
            f"each side; give {6 * alignment} px or more"
        )
    window = side // alignment * alignment
    return Views(window, window // 6 // alignment * alignment, fixed=True)


def arguments_of(training: Training) -> dict[str, JsonValue]:
    """Of the architecture, ``bands`` and ``classes`` among them."""
    known = {"bands": len(training.bands), "classes": training.channels}
    return {**training.model.arguments, **known}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a training saw of the ground and its values."""

    dtype: str  # of the values, as a contract states it
    ranges: tuple[tuple[float, float], ...]  # per band, low and high
    coarsest: float  # meters on the ground per pixel

    @classmethod
    def of(cls, training: Training, scenes: Sequence[FileScene], indexes: Sequence[SceneIndex]) -> Self:
        """Of the scenes of a training; chips reach a little further than the scenes' own ground."""
        own = max(scene.scene.resolution.mean for scene in scenes)
        coarsest = float(f"{max(training.coarsest_resolution, own):.4g}")
        return cls(scenes[0].value_dtype, value_range(indexes), coarsest)

    @property
    def kind(self) -> ValueKind:
        """8 bits are for screens; fractions of about 0 to 1 are reflectance."""
        if self.dtype == "uint8":
            return "display"
        low, high = min(low for low, _ in self.ranges), max(high for _, high in self.ranges)
        is_share = self.dtype.startswith("float") and low >= _LEAST_REFLECTANCE and high <= _MOST_REFLECTANCE
        return "reflectance" if is_share else "raw"


def draft_spec(training: Training, scaling: Scaling, seen: Seen, views: Views, procedure: str) -> BundleSpec:
    """The contract of a trained network, halo and figures still missing."""
    model = training.model
    found = traits(model.architecture, **arguments_of(training))
    named = ", ".join(entry.title or entry.name for entry in training.classes if not entry.background)
    described = (
        f"Maps {named} on scenes of about {training.resolution} with the bands {', '.join(training.bands)}."
    )
    return BundleSpec(
        name=model.name,
        version=model.version,
        title=model.title or model.name,
        description=model.description or described,
        license=model.license,
        architecture=model.architecture,
        arguments=arguments_of(training),
        bands=training.bands,
        scaling=scaling,
        value_dtype=cast("ValueType", seen.dtype),
        values=seen.kind,
        value_range=seen.ranges,
        classes=class_specs(training.classes),
        border=bool(training.border),
        resolution=training.resolution.value,
        coarsest_resolution=seen.coarsest,
        alignment=found.alignment,
        receptive_field_radius=found.receptive_field_radius,
        window=views.window if views.fixed else None,
        halo=0,
        halo_agreement=0.0,
        training=Origin(
            data=tuple(dict.fromkeys(entry.source.as_data_source() for entry in training.data)),
            seed=training.seed,
            procedure=procedure,
        ),
    )


def procedure_of(training: Training, step: int, start: str | None = None) -> str:
    """How a network came to be, in a few sentences; ``start``: the bundle that its weights are from."""
    config, chips = training.train, training.chips
    optimizer, schedule, loss = config.optimizer, config.schedule, config.loss
    terms = [
        f"{term.weight:g} × {name}"
        for name, term in (
            ("cross-entropy", loss.cross_entropy),
            (loss.overlap.kind if loss.overlap else "", loss.overlap),
            ("focal", loss.focal),
        )
        if term is not None and term.weight
    ]
    if loss.deep_supervision:
        terms.append(f"{loss.deep_supervision:g} × cross-entropy on inner outputs")
    low, high = (scale * training.resolution.value for scale in chips.scales)
    changes = [*chips.flips, *(["rotation"] if chips.rotate else []), *(["color"] if chips.color else [])]
    changes += [name for name in ("blur", "noise", "holes") if getattr(chips, name)]
    kept = {
        "score": "the best mean over places of the mean IoU on held-out blocks",
        "loss": "the lowest loss on held-out blocks",
        "last": "the last step",
    }[config.keep]
    learning = (
        f"{optimizer.kind}, rate {optimizer.rate:g}, weight decay {optimizer.weight_decay:g}, "
        f"schedule {schedule.kind}"
    )
    cutting = (
        f"{config.batch * config.accumulate} chips a step of {' / '.join(map(str, chips.sides))} px at "
        f"{low:.3g} to {high:.3g} m, changed by {', '.join(changes) or 'nothing'}"
    )
    sentences = [
        f"Preset {training.preset} ({PRESETS[training.preset].source})",
        f"loss {' + '.join(terms)}",
        learning,
        cutting,
        f"chips from {_shares(training)}",
        f"one block of {training.split.block} in {training.split.every} held out (or as an entry says)",
        f"kept: step {step}, {kept}",
    ]
    if config.average is not None:
        sentences.insert(4, f"weights averaged with decay {config.average:g}")
    if training.border:
        sentences.append(f"borders of {training.border:g} m between objects are a channel of their own")
    if start is not None:
        sentences.append(f"started from {start}")
    if training.distill is not None:
        sentences.append(f"imitates {training.distill.teacher.rsplit('/', 1)[-1]}")
    text = "; ".join(sentences) + "."
    return text[0].upper() + text[1:2000]


def _shares(training: Training) -> str:
    """From which places chips are cut, with their shares."""
    shares: dict[str, float] = {}
    for entry in training.data:
        place = entry.place or entry.source.name
        shares[place] = shares.get(place, 0.0) + entry.weight
    total = sum(shares.values())
    return ", ".join(f"{place} {share / total:.0%}" for place, share in shares.items())


def place_metrics(training: Training, score: Score, choosing: set[str]) -> list[Metric]:
    """IoU per place and class on the held-out blocks; the mean that weights are chosen by comes first."""
    chosen = f"mean over {len(choosing)} place(s) of the mean IoU on held-out blocks; weights chosen by it"
    metrics = [Metric(name="score", value=round(score.chosen, 4), data=chosen)]
    for place, iou in sorted(score.iou.items()):
        part = "weights chosen by it" if place in choosing else "no part in the choice of weights"
        data = f"{place}: blocks held out of the training, {score.pixels[place]} pixels, {part}"
        metrics += [
            Metric(name=f"iou_{entry.name}", value=round(value, 4), data=data)
            for entry, value in zip(training.classes, iou, strict=True)
            if not entry.background and value is not None
        ]
    return metrics


def measured_spec(
    predictor: Predictor, training: Training, views: Views, validation: Validation, score: Score
) -> BundleSpec:
    """The draft's contract with the halo that the network needs, its agreement, and its scores."""
    halo, agreement = halo_of(predictor, validation.scenes, views, training.seed)
    metrics = place_metrics(training, score, validation.choosing)
    return predictor.spec.model_copy(
        update={"halo": halo, "halo_agreement": agreement, "metrics": tuple(metrics)}
    )


def halo_of(
    predictor: Predictor, scenes: Sequence[LabeledScene], views: Views, seed: int
) -> tuple[int, float]:
    """Halo in pixels and its agreement: the best agreement that windows of this size allow."""
    if not views.context:
        return 0, 1.0
    core = views.window - 2 * views.context if views.fixed else _CORE
    side = core + (4 if views.fixed else 2) * views.context
    count = int(min(_HALO_WINDOWS, max(2, _HALO_PIXELS // side**2)))
    windows = [_somewhere(scenes[n % len(scenes)], side, seed + n) for n in range(count)]
    for agreement in _AGREEMENTS[:-1]:
        try:
            return measure_halo(predictor, windows, core=core, agreement=agreement)
        except BundleError:
            continue  # a lower one may be reached; the last one is not caught
    return measure_halo(predictor, windows, core=core, agreement=_AGREEMENTS[-1])


def _somewhere(scene: LabeledScene, side: int, seed: int) -> tuple[Float32, Bool]:
    """A window around a labeled place, mirrored where the scene ends."""
    rng = np.random.default_rng((seed, 7))
    tile = scene.tiles()[int(rng.integers(len(scene.tiles())))]
    row, col = tile.row + tile.height // 2 - side // 2, tile.col + tile.width // 2 - side // 2
    inside, place = mirrored(Window(row, col, side, side), scene.shape)
    patch = scene.patch(inside)
    return patch.pixels[:, *place].astype(np.float32), np.ascontiguousarray(patch.valid[place])
