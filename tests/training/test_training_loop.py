"""Laws of the loop: a training can stop, be killed and go on; what batches and processes may change."""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.training_toys import (
    CPU,
    SGD,
    checker,
    die_in_group,
    heavy,
    toy,
    toy_config,
    toy_trainer,
    train_in_group,
)
from synthetic.bundles import random_bundle
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from geoseg.config.training.presets import PRESETS, laid_over
from geoseg.config.training.train_config import (
    Adam,
    Constant,
    Cosine,
    KerasDecay,
    Plateau,
    Poly,
    Sgd,
    TrainConfig,
)
from geoseg.config.training.training_file import Distill
from geoseg.errors import BundleError, LabelError, OutputError, RunError
from geoseg.grid.encoding import IGNORE
from geoseg.models.networks.registry import build
from geoseg.training.checkpoint import CHECKPOINT_NAME
from geoseg.training.data.augment import Limits
from geoseg.training.distributed import launch
from geoseg.training.ema import MovingAverage
from geoseg.training.events import Event, Notice, Saved, Stepped, Validated
from geoseg.training.learner import Teacher
from geoseg.training.logs import CSV_NAME, TENSORBOARD_NAME, TrainingLog, read_log
from geoseg.training.losses import imitation_loss
from geoseg.training.optim import TrainingSchedule, make_optimizer, rate_factor
from geoseg.training.progress import Patience

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.array_scene import ArrayScene

    from geoseg.training.loop import TrainResult

HERE = Path(__file__).parents[1]


def same_bits(one: TrainResult | None, other: TrainResult | None) -> bool:
    assert one is not None
    assert other is not None
    return (
        one.step == other.step
        and one.score == other.score
        and all(torch.equal(value, other.state[key]) for key, value in one.state.items())
    )


def close(one: TrainResult | None, other: TrainResult | None, tolerance: float = 2e-5) -> bool:
    assert one is not None
    assert other is not None
    assert one.step == other.step
    return all(torch.allclose(v, other.state[k], atol=tolerance) for k, v in one.state.items())


# --- learning ---------------------


def test_a_toy_set_of_three_scenes_reaches_its_floor(tmp_path: Path) -> None:
    # Color tells the class, so nothing keeps the loss from zero but time.
    scenes = [checker(name="a"), checker(side=7, name="b", weight=2.0), checker(64, name="c", chooses=False)]
    events: list[Event] = []
    network = build("mininet-1", bands=3, classes=2, widths=(6, 8, 10, 12), blocks=(1, 1, 1, 1))
    config = toy_config(steps=70, validate_every=35, loss={"deep_supervision": 0.0})
    # Scored in windows of the chips' size: in larger ones MiniNet sees more than it learned from.
    sizes = {"chips": 32, "window": 32, "context": 0}
    result = toy_trainer(tmp_path, config, network, scenes, watch=events.append, **sizes).run()
    assert result is not None
    assert set(result.score.iou) == {"a", "b", "c"}
    assert result.score.chosen > 0.85
    losses = [event.loss for event in events if isinstance(event, Stepped)]
    assert len(losses) == 70
    assert losses[0] > 0.9
    assert sum(losses[-10:]) / 10 < 0.4
    assert result.history[-1]["validation_loss"] < result.history[0]["validation_loss"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains(tmp_path: Path, name: str) -> None:
    short = {"epochs": 1, "epoch": 8, "batch": 2}
    config = TrainConfig.model_validate(laid_over(PRESETS[name].train, short))
    network = build(
        "mininet-1", bands=3, classes=2, widths=(6, 8, 10, 12), blocks=(1, 1, 1, 1), auxiliary=True
    )
    result = toy_trainer(tmp_path, config, network).run()
    assert result is not None
    assert len(result.history) == 1
    assert math.isfinite(result.history[0]["loss"])
    assert all(bool(value.isfinite().all()) for value in result.state.values())


# --- stopping, being killed, going on ---------------------


@pytest.mark.parametrize("average", [None, 0.9])
def test_a_training_that_stops_and_goes_on_ends_with_the_same_bits(
    tmp_path: Path, average: float | None
) -> None:
    config = toy_config(average=average, schedule={"kind": "plateau", "patience": 0}, validate_every=3)

    def run(name: str, until: int | None = None) -> TrainResult | None:
        return toy_trainer(tmp_path / name, config, toy(normalized=True, dropout=0.3)).run(until=until)

    whole, again = run("whole"), run("again")
    assert run("parts", 4) is None
    assert run("parts", 7) is None
    parts = run("parts")
    assert same_bits(whole, again)
    assert same_bits(whole, parts)
    assert same_bits(whole, run("whole")), "a finished training gives its result again"


KILLED = """
import signal, sys
from pathlib import Path
from support.training_toys import toy, toy_config, toy_trainer
from geoseg.training.events import Stepped, fan_out
from geoseg.training.logs import TrainingLog
folder, steps = Path(sys.argv[1]), int(sys.argv[2])
def tell(event):
    if isinstance(event, Stepped):
        print(event.step, flush=True)
        if event.step == steps - 1:
            signal.pause()  # it is killed at any moment, but before it ends
with TrainingLog(folder) as log:
    network = toy(normalized=True, dropout=0.3)
    toy_trainer(folder, toy_config(steps=steps), network, watch=fan_out(log, tell)).run()
"""


def test_a_killed_training_goes_on_to_the_same_bits_and_the_same_log(tmp_path: Path) -> None:
    steps = 40
    last = random.SystemRandom().randrange(1, 25)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(steps)]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= last:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL, f"killed after step {last}"

    def run(name: str) -> TrainResult | None:
        with TrainingLog(tmp_path / name) as log:
            network = toy(normalized=True, dropout=0.3)
            return toy_trainer(tmp_path / name, toy_config(steps=steps), network, watch=log).run()

    assert same_bits(run("whole"), run("killed")), f"killed after step {last}"
    logs = [read_log(tmp_path / name) for name in ("whole", "killed")]
    stepped = [[(e["step"], e["loss"]) for e in log if e["event"] == "step"] for log in logs]
    assert stepped[0] == stepped[1]
    assert [step for step, _ in stepped[0]] == list(range(1, steps + 1))
    tables = [(tmp_path / name / CSV_NAME).read_text() for name in ("whole", "killed")]
    assert tables[0] == tables[1]
    assert len(tables[0].splitlines()) == 1 + math.ceil(steps / 6)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"config": toy_config(optimizer={"rate": 2e-2})}, "config"),
        ({"network": toy(normalized=True)}, "network"),
        ({"scenes": [checker(side=7)]}, "set of chips"),
        ({"seed": 5}, "seed"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_in_one_line(
    tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    toy_trainer(tmp_path).run(until=1)
    with pytest.raises(
        RunError, match=rf"last\.pt belongs to a training with another {what}: go on"
    ) as caught:
        toy_trainer(tmp_path, **change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 cut off", b"no checkpoint"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / CHECKPOINT_NAME).write_bytes(data)
    with pytest.raises(RunError, match="no checkpoint that can be read; remove it"):
        toy_trainer(tmp_path)


@pytest.mark.parametrize("content", [{}, {"version": 2, "identity": {"recipe": "mininet"}}])
def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    torch.save(content, tmp_path / CHECKPOINT_NAME)
    with pytest.raises(RunError, match=r"last\.pt was written by another version of geoseg; remove it"):
        toy_trainer(tmp_path)


def test_a_full_disk_leaves_the_checkpoint_before(tmpfs: Callable[[str], Path]) -> None:
    place = tmpfs("size=64k")
    work = toy_trainer(place / "run", toy_config(checkpoint_every=1), toy(width=16))
    work.run(until=2)
    (place / "filler").write_bytes(b"x" * (64 * 1024 - 8 * 1024 - _used(place)))
    with pytest.raises(OutputError, match=r"last\.pt"):
        work.run()
    (place / "filler").unlink()
    assert toy_trainer(place / "run", toy_config(checkpoint_every=1), toy(width=16)).step == 2


def _used(place: Path) -> int:
    found = os.statvfs(place)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def test_going_on_elsewhere_is_told(tmp_path: Path) -> None:
    toy_trainer(tmp_path).run(until=5)
    events: list[Event] = []
    toy_trainer(tmp_path, watch=events.append, hardware=CPU.model_copy(update={"threads": 2})).run(until=6)
    (notice,) = (event.text for event in events if isinstance(event, Notice))
    assert "2 thread(s)" in notice
    assert "last bits of the weights will differ" in notice


# --- batches, pieces, processes ---------------------


@pytest.mark.parametrize(("batch", "accumulate"), [(4, 2), (2, 4), (1, 8)])
def test_accumulated_gradients_are_those_of_the_large_batch(
    tmp_path: Path, batch: int, accumulate: int
) -> None:
    whole = toy_trainer(tmp_path / "whole", toy_config(batch=8, accumulate=1, **SGD)).run()
    config = toy_config(batch=batch, accumulate=accumulate, **SGD)
    assert close(whole, toy_trainer(tmp_path / "parts", config).run())


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_pieces_of_a_batch_are_the_batch(tmp_path: Path, parts: int) -> None:
    config = toy_config(**SGD)
    whole = toy_trainer(tmp_path / "whole", config).run()
    cut = toy_trainer(tmp_path / "cut", config)
    cut.learner.parts = parts
    assert close(whole, cut.run())


SHORT_MEMORY = """
import resource, sys
from pathlib import Path
from support.training_toys import heavy
from geoseg.training.events import Notice
def tell(event):
    if isinstance(event, Notice):
        print(event.text, flush=True)
folder, width, megabytes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
work = heavy(folder, width, tell)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 10**6,) * 2)
work.run(until=2)
"""


def short_of_memory(folder: Path, width: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SHORT_MEMORY, str(folder), str(width), "200"]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="a process's memory can be limited on Linux alone")
def test_short_memory_halves_the_batch_says_so_once_and_keeps_the_step(tmp_path: Path) -> None:
    events: list[Event] = []
    plenty = heavy(tmp_path / "plenty", 1024, events.append).run()
    done = short_of_memory(tmp_path / "short", 1024)
    assert done.returncode == 0, done.stderr[-2000:]
    told = done.stdout.splitlines()
    start = r"out of memory at step [12]: the batch is now seen in 2 pieces of at most 8 chip\(s\), whose"
    assert re.match(start, told[0])
    work = heavy(tmp_path / "short", 1024, events.append)
    assert work.step == 2
    assert work.learner.parts == 2 ** len(told), "what was learned of the memory is in the checkpoint"
    assert close(plenty, work.run())
    assert not [event for event in events if isinstance(event, Notice)]


@pytest.mark.skipif(sys.platform != "linux", reason="a process's memory can be limited on Linux alone")
def test_memory_that_does_not_do_for_one_chip_is_an_error(tmp_path: Path) -> None:
    done = short_of_memory(tmp_path, 65536)
    assert "RunError: out of memory at step 1 with 1 chip(s) of 24 px at once on cpu" in done.stderr


@pytest.mark.parametrize("normalized", [False, True])
def test_two_processes_learn_what_one_does(tmp_path: Path, *, normalized: bool) -> None:
    config = toy_config(steps=6, accumulate=2, validate_every=6, checkpoint_every=3)
    alone, _ = launch(train_in_group, 1, "cpu", tmp_path / "one", config, normalized)
    result, events = launch(train_in_group, 2, "cpu", tmp_path / "two", config, normalized)
    assert [e.step for e in events if isinstance(e, Saved)] == [3, 6]
    notices = [e.text for e in events if isinstance(e, Notice)]
    if normalized:
        # Each process has statistics of its own: near, and said.
        assert "each of the 2 processes normalizes by its own chips" in notices[0]
        assert not close(alone, result)
        assert close(alone, result, 0.5)
        return
    assert not notices
    # Dice over the batch among the terms: its sums are those of all processes.
    assert close(alone, result)
    losses = [e.loss for e in events if isinstance(e, Stepped)]
    assert losses == pytest.approx([e["loss"] for e in _steps(tmp_path / "one", config)], rel=1e-5)


def _steps(folder: Path, config: Any) -> list[dict[str, Any]]:
    with TrainingLog(folder / "again") as log:
        toy_trainer(folder / "again", config, watch=log).run()
    return [event for event in read_log(folder / "again") if event["event"] == "step"]


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"train.batch is 3, which 2 processes cannot share evenly"):
        launch(train_in_group, 2, "cpu", tmp_path, toy_config(batch=3), False)


def test_a_process_that_dies_ends_the_training(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"ended without a message: geoseg-train-1 \(exit code 7\)"):
        launch(die_in_group, 2, "cpu", tmp_path)


# --- what stops a training ---------------------


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_pixels_that_are_not_finite_stop_the_training_and_name_the_scene(tmp_path: Path) -> None:
    good = checker()
    pixels = good.pixels.astype(np.float32)
    pixels[:, ::3, ::3] = np.inf
    scenes = [replace(good, pixels=good.pixels.astype(np.float32)), replace(good, name="bad", pixels=pixels)]
    work = toy_trainer(tmp_path, scenes=scenes)
    work.sampler.limits = Limits.of_bytes(3)
    told = r"the loss is nan at step \d+ \(batch \d+, chips from .*bad.*\): pixels of bad are not finite"
    with pytest.raises(RunError, match=told):
        work.run()


def test_a_training_that_diverges_says_so_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    work = toy_trainer(tmp_path, toy_config(checkpoint_every=2))
    work.run(until=2)
    with torch.no_grad():
        work.learner.network.head.weight.fill_(math.nan)
    with pytest.raises(
        RunError, match=r"loss is nan at step 3 \(batch 2, chips from checker\): .* lower the rate"
    ):
        work.run()
    assert toy_trainer(tmp_path, toy_config(checkpoint_every=2)).step == 2


def test_labels_that_the_network_lacks_stop_the_training_and_name_the_scene(tmp_path: Path) -> None:
    scene = checker()
    labels = np.where(scene.labels == 1, 9, scene.labels).astype(np.uint8)
    work = toy_trainer(tmp_path)
    work.sampler = toy_trainer(tmp_path / "x", scenes=[replace(scene, labels=labels, name="odd")]).sampler
    with pytest.raises(LabelError, match=r"at step 1 .* has 0 to 1: odd has \[9\]"):
        work.run()


def test_no_improvement_stops_early_and_lowers_the_rate(tmp_path: Path) -> None:
    events: list[Event] = []
    config = toy_config(
        steps=40,
        optimizer={"rate": 1e-12},
        average=None,
        validate_every=1,
        keep="loss",
        schedule={"kind": "plateau", "patience": 1, "factor": 0.1},
        early_stopping={"watch": "score", "patience": 5},
    )
    work = toy_trainer(tmp_path, config, watch=events.append)
    result = work.run()
    assert result is not None
    assert result.reason == "the score has not improved for 5 validations"
    assert work.step == 6
    rates = [event.rate for event in events if isinstance(event, Stepped)]
    assert rates == pytest.approx([1e-12, 1e-12, 1e-12, 1e-13, 1e-13, 1e-14])
    assert sum("the rate falls" in e.text for e in events if isinstance(e, Notice)) == 2
    assert toy_trainer(tmp_path, config).run() is not None, "an ended training stays ended"


@pytest.mark.parametrize("keep", ["score", "loss", "last"])
def test_the_weights_kept_are_those_of_the_best_validation(tmp_path: Path, keep: str) -> None:
    events: list[Event] = []
    config = toy_config(steps=16, validate_every=2, optimizer={"rate": 0.3}, average=None, keep=keep)
    result = toy_trainer(tmp_path, config, watch=events.append).run()
    assert result is not None
    seen = [event for event in events if isinstance(event, Validated)]
    best = {
        "score": max(seen, key=lambda e: (e.score, -e.step)),
        "loss": min(seen, key=lambda e: (e.validation_loss, e.step)),
        "last": seen[-1],
    }[keep]
    assert (result.step, result.score.chosen) == (best.step, best.score)
    assert [e.step for e in seen if e.kept][-1] == best.step
    network = toy()
    network.load_state_dict(result.state)
    work = toy_trainer(tmp_path / "again", config, network)
    work.learner.network.eval()
    assert work.validation.score(work.learner.logits).chosen == pytest.approx(best.score)


def test_without_a_validation_there_is_no_result(tmp_path: Path) -> None:
    work = toy_trainer(tmp_path)
    assert work.run(until=2) is None
    with pytest.raises(RunError, match="no validation yet at step 2"):
        work.result()


# --- rates, optimizers, averages ---------------------


@given(
    st.sampled_from([Constant(), Poly(power=0.9), Cosine(), KerasDecay(decay=0.01), Plateau(patience=1)]),
    st.integers(1, 200),
    st.integers(0, 20),
)
def test_rates_warm_up_then_never_rise(schedule: Any, steps: int, warmup: int) -> None:
    schedule = schedule.model_copy(update={"warmup": min(warmup, steps)})
    rates = [rate_factor(schedule, step, steps) for step in range(steps)]
    peak = max(schedule.warmup - 1, 0)
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[0] <= 1 / max(schedule.warmup, 1)


def test_rates_are_those_of_the_formulas() -> None:
    assert rate_factor(Poly(power=0.9), 25, 100) == pytest.approx(0.75**0.9)
    assert rate_factor(Cosine(), 50, 100) == pytest.approx(0.5)
    assert rate_factor(KerasDecay(decay=5e-5), 18_000, 18_000) == pytest.approx(1 / 1.9)
    assert rate_factor(Plateau(factor=0.5), 7, 9, drops=3) == 0.125


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30), st.integers(0, 4))
def test_a_plateau_is_torchs(losses: list[float], patience: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=patience, factor=0.5)
    ours, drops = Patience("loss"), 0
    for loss in losses:
        oracle.step(loss)
        if ours.see(loss=loss, score=0) > patience:
            drops, ours.bad = drops + 1, 0
        assert max(0.5**drops, 1e-8) == pytest.approx(max(optimizer.param_groups[0]["lr"], 1e-8))


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (Sgd(rate=0.1, nesterov=True, weight_decay=0.2), torch.optim.SGD),
        (Adam(kind="adam", rate=0.1, weight_decay=0.2, decays="all"), torch.optim.Adam),
        (Adam(kind="adamw", rate=0.1, weight_decay=0.2, encoder_rate_factor=0.5), torch.optim.AdamW),
    ],
)
def test_optimizers_group_parameters_by_decay_and_encoder(config: Any, kind: type) -> None:
    network = toy(normalized=True)
    optimizer = make_optimizer(network, config)
    assert type(optimizer) is kind
    found = {
        id(p): (group["weight_decay"], group["factor"])
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert len(found) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        decay = 0.2 if config.decays == "all" or parameter.ndim > 1 else 0.0
        factor = config.encoder_rate_factor if name.startswith("encoder.") else 1.0
        assert found[id(parameter)] == (decay, factor), name


def test_the_average_is_the_sum_of_its_parts() -> None:
    network = toy(normalized=True)
    average = MovingAverage(network, 0.9)
    expected = network.head.weight.detach().clone()
    for step in range(6):
        with torch.no_grad():
            network.head.weight.add_(0.1)
            network.norm.num_batches_tracked.add_(1)
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * network.head.weight.detach()
    assert torch.allclose(average.state["head.weight"], expected)
    assert int(average.state["norm.num_batches_tracked"]) == 6


def test_epochs_are_a_number_of_chips() -> None:
    config = toy_config(epochs=3, batch=4, accumulate=2, validate_every="epoch", checkpoint_every=7)
    schedule = TrainingSchedule(config, 50)
    assert (schedule.steps_per_epoch, schedule.steps) == (6, 18)
    assert [step for step in range(1, 19) if schedule.validates(step)] == [6, 12, 18]
    assert [step for step in range(1, 19) if schedule.saves(step)] == [6, 7, 12, 14, 18]
    assert TrainingSchedule(config.model_copy(update={"epoch": 16}), 50).steps == 6


# --- a teacher ---------------------


def unlabeled(name: str = "checker") -> ArrayScene:
    """A checker of which one corner is labeled."""
    scene = checker(name=name)
    labels = np.full_like(scene.labels, IGNORE)
    labels[:24, :24] = scene.labels[:24, :24]
    labels[30:60, 30:60] = scene.labels[30:60, 30:60]
    return replace(scene, labels=labels)


def test_a_student_learns_where_only_the_teacher_knows(tmp_path: Path) -> None:
    arguments = {"widths": [8], "encoder": [1], "decoder": [1]}
    bundle = random_bundle(tmp_path / "teacher", arguments=arguments, seed=3)
    teacher = Teacher.load(bundle.folder, ("red", "green", "blue"), ("class0", "class1"), "cpu")
    distill = Distill(teacher="teacher", weight=4.0, temperature=1.0)
    config = toy_config(steps=60, validate_every=60, average=None, loss={"overlap": None})

    def apart(result: TrainResult | None) -> float:
        """Mean divergence of the student from its teacher over a whole scene."""
        assert result is not None
        network = toy()
        network.load_state_dict(result.state)
        pixels = torch.from_numpy(checker().pixels.astype(np.float32))[None]
        valid = torch.ones(1, 96, 96, dtype=torch.bool)
        work = toy_trainer(tmp_path / "look", config, network)
        return float(imitation_loss(work.learner.logits(pixels, valid), teacher.logits(pixels, valid), 1.0))

    scenes = [unlabeled()]
    alone = toy_trainer(tmp_path / "alone", config, scenes=scenes).run()
    taught = toy_trainer(tmp_path / "taught", config, scenes=scenes, distill=distill, teacher=teacher)
    assert not any(p.requires_grad for p in teacher._network.parameters())
    before = {key: value.clone() for key, value in teacher._network.state_dict().items()}
    assert apart(taught.run()) < 0.5 * apart(alone)
    assert all(torch.equal(value, teacher._network.state_dict()[key]) for key, value in before.items())
    with pytest.raises(RunError, match="another teacher: go on"):
        toy_trainer(tmp_path / "taught", config, scenes=scenes)


def test_a_teacher_of_other_classes_or_bands_is_refused(tmp_path: Path) -> None:
    folder = random_bundle(tmp_path / "teacher").folder
    with pytest.raises(BundleError, match="has the classes class0, class1, this training roof, class1"):
        Teacher.load(folder, ("red", "green", "blue"), ("roof", "class1"), "cpu")
    with pytest.raises(BundleError, match="has the bands red, green, blue, this training red, nir"):
        Teacher.load(folder, ("red", "nir"), ("class0", "class1"), "cpu")


# --- precision ---------------------


def test_bfloat16_learns_and_half_precision_asks_for_a_gpu(tmp_path: Path) -> None:
    low = toy_trainer(tmp_path / "low", toy_config(precision="bf16")).run()
    full = toy_trainer(tmp_path / "full", toy_config(precision="fp32")).run()
    assert low is not None
    assert full is not None
    assert not same_bits(low, full)
    assert close(low, full, 0.05)
    assert all(value.dtype == torch.float32 for value in low.state.values())
    with pytest.raises(RunError, match="fp16 needs a GPU"):
        toy_trainer(tmp_path / "half", toy_config(precision="fp16"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_learns_what_a_cpu_does(tmp_path: Path, precision: str) -> None:
    gpu = CPU.model_copy(update={"device": "cuda"})
    there = toy_trainer(tmp_path / "gpu", toy_config(precision=precision), hardware=gpu).run()
    here = toy_trainer(tmp_path / "cpu", toy_config(precision="fp32")).run()
    assert close(there, here, 1e-3 if precision == "fp32" else 0.05)


# --- the log ---------------------


def test_the_log_is_told_in_json_csv_and_tensorboard(tmp_path: Path) -> None:
    with TrainingLog(tmp_path) as log:
        result = toy_trainer(tmp_path, watch=log).run()
    assert result is not None
    kinds = [entry["event"] for entry in read_log(tmp_path)]
    assert kinds.count("step") == 12
    assert kinds.count("validated") == 2
    assert (kinds[0], kinds[-1]) == ("started", "ended")
    rows = (tmp_path / CSV_NAME).read_text().splitlines()
    assert rows[0] == "step,epoch,rate,loss,validation_loss,score,kept,checker/0,checker/1"
    assert len(rows) == 3
    board = EventAccumulator(str(tmp_path / TENSORBOARD_NAME)).Reload()
    assert [e.step for e in board.Scalars("train/loss")] == list(range(1, 13))
    assert board.Scalars("validation/score")[-1].value == pytest.approx(result.history[-1]["score"])
    json.dumps(read_log(tmp_path))
