"""Laws of training: what chips may show, what losses are, and that a training can stop and go on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from geoseg.errors import LabelError, RunError
from geoseg.models.registry import build
from geoseg.train.augment import ColourSettings
from geoseg.train.chips import ChipSampler, ChipSettings
from geoseg.train.index import scaling
from geoseg.train.loop import Trainer, TrainSettings
from geoseg.train.losses import OverlapLoss, SegmentationLoss, overlap_loss
from geoseg.train.scenes import LabelledScene, Split
from geoseg.train.validate import Validation

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = ColourSettings(
    brightness=0, contrast=0, gamma=0, gain=0, saturation=0, hue=0, blur=0, noise=0, holes=0
)


def checker(
    size: int = 128, side: int = 12, *, split: Split | None = None, **arguments: object
) -> LabelledScene:
    """A scene whose class is its colour: bright squares are class 1."""
    rows, cols = np.indices((size, size)) // side
    labels = ((rows + cols) % 2).astype(np.uint8)
    pixels = np.stack([60 + 120 * labels, 200 - 90 * labels, np.full_like(labels, 90)]).astype(np.uint8)
    scene = LabelledScene(
        "checker",
        pixels,
        np.ones_like(labels, bool),
        labels,
        0.3,
        split=split or Split(block=9, every=5, margin=0.6),
    )
    return replace(scene, **arguments)


# --- losses ---------------------


def vector(
    probabilities: list[list[list[float]]], labels: list[list[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(probabilities, dtype=torch.float64).log(), torch.tensor(labels)


A = vector([[[0.8, 0.4], [0.2, 0.6]]], [[0, 1]])
B = vector(
    [
        [[0.7, 0.6, 0.2, 0.1], [0.2, 0.3, 0.7, 0.1], [0.1, 0.1, 0.1, 0.8]],
        [[0.9, 0.5, 0.3, 0.25], [0.05, 0.4, 0.6, 0.5], [0.05, 0.1, 0.1, 0.25]],
    ],
    [[0, 0, 1, 2], [0, 1, 1, 255]],
)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"smooth": 0}, 0.4642857),
        ({"smooth": 1e-3}, 0.4639246),
        ({"smooth": 1}, 0.2613636),
        ({"alpha": 0.5, "beta": 0.5, "smooth": 0}, 0.3030303),
        ({"alpha": 0.5, "beta": 0.5, "smooth": 1e-3}, 0.3027215),
        ({"alpha": 0.5, "beta": 0.5, "smooth": 1}, 0.1503759),
        ({"alpha": 0.3, "beta": 0.7, "smooth": 0}, 0.3034926),
        ({"alpha": 0.3, "beta": 0.7, "smooth": 1}, 0.1507357),
        ({"alpha": 0.7, "beta": 0.3, "smooth": 0}, 0.3002856),
        ({"alpha": 0.7, "beta": 0.3, "smooth": 1}, 0.1493317),
        ({"gamma": 2, "smooth": 0}, 0.2168367),
        ({"gamma": 2, "smooth": 1}, 0.0684401),
        ({"log": True, "smooth": 0}, 0.6263815),
    ],
)
def test_overlap_loss_has_the_values_worked_out_by_hand(settings: dict[str, float], expected: float) -> None:
    assert float(overlap_loss(*A, OverlapLoss(**settings))) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("smooth", "expected"),
    [
        (0, (0.4938441, 0.4833651, 0.4631181, 0.4938441, 0.5656822, 0.5656822)),
        (1e-3, (0.4936536, 0.4830940, 0.4628416, 0.4936536, 0.5647910, 0.5647910)),
        (1, (0.3620072, 0.3108520, 0.2916096, 0.3620072, 0.2887111, 0.2887111)),
    ],
)
def test_overlap_loss_averages_over_batch_images_and_classes(
    smooth: float, expected: tuple[float, ...]
) -> None:
    means = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    cases = [(classes, mean) for classes in ("present", "all") for mean in means]
    found = [overlap_loss(*B, OverlapLoss(smooth=smooth, classes=c, reduction=m)) for c, m in cases]
    assert [float(f) for f in found] == pytest.approx(expected, abs=1e-7)


def test_overlap_loss_weighs_classes_and_skips_absent_ones() -> None:
    assert float(overlap_loss(*B, OverlapLoss(smooth=0, class_weights=(1, 2, 0.5)))) == pytest.approx(
        0.5912811
    )
    second = B[0][1:], B[1][1:]
    for settings, expected in [
        (OverlapLoss(smooth=0), 0.5060976),
        (OverlapLoss(smooth=0, classes="all"), 0.6707317),
        (OverlapLoss(smooth=1, classes="all"), 0.2885636),
    ]:
        assert float(overlap_loss(*second, settings)) == pytest.approx(expected, abs=1e-7)


def test_without_any_label_the_loss_is_zero_and_has_a_gradient_path() -> None:
    logits = B[0].clone().requires_grad_()
    labels = torch.full_like(B[1], 255)
    loss = SegmentationLoss()((logits[..., None],), labels[..., None])
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_overlap_loss_of_soft_labels_is_zero_where_they_are_met() -> None:
    logits = torch.tensor([[[0.7, 0.5], [0.3, 0.5]]], dtype=torch.float64).log()
    assert float(overlap_loss(logits, logits.exp())) == pytest.approx(0, abs=1e-7)
    target = torch.tensor([[[0.9, 0.1], [0.1, 0.9]]], dtype=torch.float64)
    assert float(overlap_loss(logits, target, OverlapLoss(smooth=0))) == pytest.approx(0.4642857)
    assert float(overlap_loss(logits, target, OverlapLoss(smooth=1))) == pytest.approx(0.2613636)
    dice = OverlapLoss(alpha=0.5, beta=0.5, smooth=0)
    assert float(overlap_loss(logits, target, dice)) == pytest.approx(0.3030303)


def test_inner_outputs_count_with_their_weight() -> None:
    logits, labels = B[0][..., None], B[1][..., None]
    plain = SegmentationLoss(overlap_weight=0)
    main = float(plain((logits,), labels))
    expected = torch.nn.functional.cross_entropy(logits, labels, ignore_index=255)
    assert main == pytest.approx(float(expected))
    assert float(plain((logits, logits, logits), labels)) == pytest.approx(1.8 * main)


def test_labels_that_the_network_lacks_are_refused() -> None:
    with pytest.raises(LabelError, match=r"ids \[7\], the network has classes 0 to 2"):
        SegmentationLoss()((B[0][..., None],), torch.where(B[1] == 2, 7, B[1])[..., None])


# --- the loop ---------------------


def trainer(folder: Path, steps: int = 24, **changes: object) -> Trainer:
    """A toy training: Micro-Net of a few channels on a scene whose class is its colour."""
    torch.manual_seed(4)
    network = build(
        "mininet-1", bands=3, classes=2, widths=(6, 8, 10, 12), blocks=(1, 1, 1, 1), auxiliary=True
    )
    scene = checker(96)
    sampler = ChipSampler([scene], ChipSettings(size=32), seed=11)
    mean, std = scaling(sampler.scenes, sampler.indexes)
    settings = TrainSettings(
        steps=steps, batch=2, rate=1e-2, warmup=4, average=0.9, validate_every=6, checkpoint_every=5
    )
    return Trainer(
        network,
        sampler,
        Validation([scene], resolution=0.3, classes=2, scored=[1]),
        mean=mean,
        std=std,
        settings=replace(settings, **changes),
        folder=folder,
    )


def test_a_toy_is_learned(tmp_path: Path) -> None:
    lines: list[str] = []
    work = trainer(tmp_path, steps=90, validate_every=30)
    work.progress = lines.append
    result = work.run()
    assert result is not None
    assert result.score.chosen > 0.9
    assert result.history[-1]["loss"] < 0.7 * result.history[0]["loss"]
    assert len(lines) == len(result.history) == 3
    assert lines[0].startswith("step 30/90 loss ")
    assert (tmp_path / "log.csv").read_text().splitlines()[0] == "step,rate,loss,score,checker/0,checker/1"


def test_a_training_that_stops_and_goes_on_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole").run()
    again = trainer(tmp_path / "again").run()
    assert trainer(tmp_path / "parts").run(until=7) is None
    assert trainer(tmp_path / "parts").run(until=15) is None
    parts = trainer(tmp_path / "parts").run()
    assert whole is not None
    for other in (again, parts):
        assert other is not None
        assert other.step == whole.step
        assert other.score == whole.score
        assert all(torch.equal(value, other.state[key]) for key, value in whole.state.items())


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path).run(until=2)
    with pytest.raises(RunError, match="other settings, scenes or seed"):
        trainer(tmp_path, rate=2e-2)


def test_a_loss_that_is_not_finite_stops_the_training_and_names_the_step(tmp_path: Path) -> None:
    work = trainer(tmp_path)
    work.run(until=3)
    with torch.no_grad():
        next(work.network.parameters()).fill_(float("nan"))
    with pytest.raises(RunError, match="the loss is nan at step 3"):
        work.run()


def test_without_a_validation_there_is_no_result(tmp_path: Path) -> None:
    work = trainer(tmp_path)
    work.run(until=2)
    with pytest.raises(RunError, match="no validation yet at step 2"):
        work.result()


def test_the_rate_rises_then_falls_to_zero(tmp_path: Path) -> None:
    work = trainer(tmp_path)
    rates = [work.rate_at(step) for step in range(24)]
    assert rates[0] == pytest.approx(1e-2 / 4)
    assert max(rates) == rates[3]
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert work.rate_at(24) == 0
