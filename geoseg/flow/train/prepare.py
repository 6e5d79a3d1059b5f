"""From a training file to scenes, network and device: everything that can be checked before any work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.engine.contract import advice, is_coarser
from geoseg.errors import OutputError, RunError, SceneError
from geoseg.flow.train.contract import Views, views_of
from geoseg.flow.train.data import keys_of_entry, open_data
from geoseg.flow.train.initial_weights import check_supervision, first_network, origin_of, start_bundle
from geoseg.io.yaml.files import LoadedTraining, load_training
from geoseg.models.bundle import Bundle
from geoseg.training.checkpoint import config_identity, read_checkpoint
from geoseg.training.data.cache import SceneCache
from geoseg.training.data.loader import chip_workers
from geoseg.training.distributed import check_batch_divides
from geoseg.training.learner import Teacher
from geoseg.training.precision import TrainingRuntime
from geoseg.words import listed

if TYPE_CHECKING:
    from geoseg.config.training.training_file import Training
    from geoseg.training.data.file_scene import FileScene

__all__ = ["PreparedTraining", "prepare_training"]


@dataclass(frozen=True, slots=True, eq=False)
class PreparedTraining:
    """A training file whose scenes, network and device are there."""

    loaded: LoadedTraining  # the file and where its values stand
    scenes: tuple[FileScene, ...]
    views: Views
    start: Bundle | None  # whose weights it starts from
    runtime: TrainingRuntime
    remarks: tuple[str, ...] = ()  # what is no mistake but may not be meant, a sentence each

    @property
    def training(self) -> Training:
        """The file's values."""
        return self.loaded.training

    @property
    def start_text(self) -> str:
        """What the first weights are, in words."""
        if self.start is not None:
            return f"weights of {self.start.spec.name}"
        return "a pre-trained encoder" if self.training.model.encoder_weights else "random weights"

    @property
    def bundle(self) -> Path:
        """Folder of the bundle that comes out."""
        return self.loaded.output / self.training.model.name


def prepare_training(path: str | Path, overrides: Mapping[str, Any] | None = None) -> PreparedTraining:
    """Load a training file and check all that can be checked before a pixel is read.

    Raises:
        ConfigError: mistakes in the file, all of them; chips too small, or a loss of inner outputs, for a
            network that cannot have them.
        BundleError: a network, start or teacher that does not fit.
        CatalogError, SceneError, LabelError: scenes or labels that cannot be trained on, one line each.
        RunError: tensorboard or matplotlib are not installed, the device or precision is not available here,
            the batch does not divide among the processes, or the output holds the checkpoint of another
            training.
        OutputError: the output is a folder of scenes.
    """
    _check_installed()
    loaded = load_training(path, overrides)
    training, compute = loaded.training, loaded.training.compute
    views = views_of(training)
    check_supervision(training)
    start = start_bundle(training, loaded.start)
    if training.model.encoder_weights is not None:
        first_network(training, start)  # hub and cache are asked now, not after the scenes were read
    runtime = TrainingRuntime.resolve(
        compute.device, training.train.precision, compute.threads, gpus=compute.processes
    )
    check_batch_divides(training.train, compute.processes)
    teacher = None
    if loaded.teacher is not None:
        names = [entry.name for entry in training.classes]
        teacher = Teacher.load(loaded.teacher, training.bands, names, "cpu")
    stated = config_identity(
        training.train,
        training.seed,
        origin_of(training, start),
        training.distill,
        None if teacher is None else teacher.identity,
    )
    read_checkpoint(loaded.output, stated)
    workers = chip_workers(compute.workers, runtime.kind, compute.processes)
    # Every process that reads tiles keeps its own.
    holders = compute.processes * (workers + 1 if workers > 1 else 1)
    scenes = open_data(loaded, SceneCache(compute.memory.bytes // holders))
    for key, model in (("model.start", start), ("distill.teacher", teacher)):
        if model is not None and model.spec.value_dtype != scenes[0].value_dtype:
            raise SceneError(
                f"{key}: {model.spec.name} was trained on {model.spec.value_dtype}, the scenes hold "
                f"{scenes[0].value_dtype}; {_how_to_fit(model.spec.value_dtype, scenes[0])}"
            )
    remarks = tuple(_remarks(training, scenes, teacher))
    prepared = PreparedTraining(loaded, scenes, views, start, runtime, remarks)
    _check_apart(prepared)
    return prepared


def _how_to_fit(dtype: str, scene: FileScene) -> str:
    """What to set so that the values of a scene are of a model's type."""
    if scene.stretch is not None:
        return f"leave data[{scene.entry}].stretch out"
    sample = scene.sample() if dtype == "uint8" else None
    if sample is None or not sample.valid:
        return "start from a model of such values"
    return keys_of_entry(f"set {advice(sample)}", scene.entry)


def _check_installed() -> None:
    """Refuse to train without what its curves and pictures are drawn with."""
    missing = [name for name in ("tensorboard", "matplotlib") if find_spec(name) is None]
    if missing:
        raise RunError(
            f"training needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            "installed; pip install 'geoseg[train]'"
        )


def _remarks(training: Training, scenes: Sequence[FileScene], teacher: Teacher | None) -> Iterator[str]:
    for scene in scenes:
        yield from (
            f"scene {scene.name}: {keys_of_entry(text, scene.entry)}" for text in scene.scene.warnings
        )
    coarsest = training.coarsest_resolution
    coarse = {scene.name: scene.scene.resolution.mean for scene in scenes}
    found = [name for name, resolution in coarse.items() if is_coarser(resolution, coarsest)]
    if found:
        yield (
            f"{listed(found)}: pixels of up to {max(coarse.values()):.3g} m on the ground, coarser than the "
            f"coarsest chips ({coarsest:.3g} m): they are enlarged, and the bundle will say so"
        )
    rasters = [scene.name for scene in scenes if training.border and not scene.label.border]
    if rasters:
        yield (
            f"the labels of {listed(rasters)} are rasters, which do not tell objects apart: walls that they "
            "share are learned as no borders"
        )
    window, sides = None if teacher is None else teacher.spec.window, training.chips.sides
    if teacher is not None and window is not None and set(sides) != {window}:
        yield (
            f"the teacher {teacher.spec.name} was trained in windows of {window} px and knows less about "
            f"chips of {' and '.join(map(str, sides))} px: chips.size: {window} px would suit it"
        )


def _check_apart(prepared: PreparedTraining) -> None:
    """Refuse to write into a folder of scenes or labels, where ``item.json`` may be somebody else's."""
    ours = {prepared.loaded.output.resolve(), prepared.bundle.resolve()}
    for scene in prepared.scenes:
        hrefs = (*scene.scene.files, scene.label.href, scene.label.area_href)
        for href in hrefs:
            if href is not None and Path(href).resolve().parent in ours:
                raise OutputError(
                    f"the training would write into {Path(href).parent}, where its own {Path(href).name} "
                    "lies; choose another output",
                    scene=scene.name,
                )
