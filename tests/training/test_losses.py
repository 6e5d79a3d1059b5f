"""Laws of the losses: the specification's vectors, what they are blind to, and that pieces add up."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from geoseg.config.training.train_config import CrossEntropy, Focal, Loss, Overlap, Reduction
from geoseg.config.training.training_file import Distill
from geoseg.errors import RunError
from geoseg.grid.encoding import IGNORE
from geoseg.training.losses import (
    BatchCounts,
    Objective,
    cross_entropy,
    focal_loss,
    imitation_loss,
    invalid_labels,
    overlap_loss,
)

MEANS = {
    "D": Reduction(per_batch=1.0),
    "I": Reduction(per_batch=0.0, per_image=1.0),
    "C": Reduction(per_batch=0.0, per_class=1.0),
}


def jaccard(**changes: object) -> Overlap:
    return Overlap(**{"kind": "jaccard", "smooth": 0.0, **changes})


def dice(**changes: object) -> Overlap:
    return jaccard(kind="dice", **changes)


def tversky(alpha: float, beta: float, **changes: object) -> Overlap:
    return jaccard(kind="tversky", alpha=alpha, beta=beta, **changes)


# --- the vectors of the specification, section 5 ---------------------


def vector(probabilities: list[list[list[float]]], labels: list[list[int]]) -> tuple[Tensor, Tensor]:
    return torch.tensor(probabilities, dtype=torch.float64).log(), torch.tensor(labels)


A = vector([[[0.8, 0.4], [0.2, 0.6]]], [[0, 1]])
B = vector(
    [
        [[0.7, 0.6, 0.2, 0.1], [0.2, 0.3, 0.7, 0.1], [0.1, 0.1, 0.1, 0.8]],
        [[0.9, 0.5, 0.3, 0.25], [0.05, 0.4, 0.6, 0.5], [0.05, 0.1, 0.1, 0.25]],
    ],
    [[0, 0, 1, 2], [0, 1, 1, 255]],
)
SECOND = B[0][1:], B[1][1:]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (jaccard(), 0.4642857),
        (jaccard(smooth=1e-3), 0.4639246),
        (jaccard(smooth=1.0), 0.2613636),
        (dice(), 0.3030303),
        (dice(smooth=1e-3), 0.3027215),
        (dice(smooth=1.0), 0.1503759),
        (tversky(0.3, 0.7), 0.3034926),
        (tversky(0.3, 0.7, smooth=1.0), 0.1507357),
        (tversky(0.7, 0.3), 0.3002856),
        (tversky(0.7, 0.3, smooth=1.0), 0.1493317),
        (jaccard(gamma=2.0), 0.2168367),
        (jaccard(gamma=2.0, smooth=1.0), 0.0684401),
        (jaccard(log=True), 0.6263815),
    ],
)
def test_overlap_loss_has_the_values_worked_out_by_hand(settings: Overlap, expected: float) -> None:
    assert float(overlap_loss(*A, settings)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("smooth", "expected"),
    [
        (0.0, (0.4938441, 0.4833651, 0.4631181, 0.4938441, 0.5656822, 0.5656822)),
        (1e-3, (0.4936536, 0.4830940, 0.4628416, 0.4936536, 0.5647910, 0.5647910)),
        (1.0, (0.3620072, 0.3108520, 0.2916096, 0.3620072, 0.2887111, 0.2887111)),
    ],
)
def test_overlap_loss_averages_over_batch_images_and_classes(
    smooth: float, expected: tuple[float, ...]
) -> None:
    cases = product(("present", "all"), MEANS.values())
    found = [overlap_loss(*B, jaccard(smooth=smooth, classes=c, reduction=m)) for c, m in cases]
    assert [float(f) for f in found] == pytest.approx(expected, abs=1e-7)
    mixed = Reduction(per_batch=0.5, per_image=0.25, per_class=2.0)
    whole = overlap_loss(*B, jaccard(smooth=smooth, reduction=mixed))
    assert float(whole) == pytest.approx(0.5 * expected[0] + 0.25 * expected[1] + 2 * expected[2], abs=1e-6)


@pytest.mark.parametrize(
    ("given_", "settings", "expected"),
    [
        (B, jaccard(class_weights=(1.0, 2.0, 0.5)), 0.5912811),
        (SECOND, jaccard(), 0.5060976),
        (SECOND, jaccard(classes="all"), 0.6707317),
        (SECOND, jaccard(classes="all", smooth=1.0), 0.2885636),
    ],
)
def test_overlap_loss_weighs_classes_and_skips_absent_ones(
    given_: tuple[Tensor, Tensor], settings: Overlap, expected: float
) -> None:
    assert float(overlap_loss(*given_, settings)) == pytest.approx(expected, abs=1e-7)


def test_overlap_loss_of_soft_labels_has_the_values_worked_out_by_hand() -> None:
    logits = torch.tensor([[[0.7, 0.5], [0.3, 0.5]]], dtype=torch.float64).log()
    target = torch.tensor([[[0.9, 0.1], [0.1, 0.9]]], dtype=torch.float64)
    assert float(overlap_loss(logits, target, jaccard())) == pytest.approx(0.4642857, abs=1e-7)
    assert float(overlap_loss(logits, target, jaccard(smooth=1.0))) == pytest.approx(0.2613636, abs=1e-7)
    assert float(overlap_loss(logits, target, dice())) == pytest.approx(0.3030303, abs=1e-7)


def test_the_squared_norm_is_the_product_form() -> None:
    # With n = 2, TP is Σ p t exactly: V-Net's Dice with squares below the fraction.
    p, labels = A[0].exp()[0], A[1][0]
    t = functional.one_hot(labels, 2).T
    expected = [1 - 2 * (p[c] * t[c]).sum() / ((p[c] ** 2).sum() + (t[c] ** 2).sum()) for c in range(2)]
    found = overlap_loss(*A, dice(norm=2.0))
    assert float(found) == pytest.approx(float(sum(expected)) / 2, abs=1e-12)


# --- laws ---------------------

overlaps = st.builds(
    Overlap,
    kind=st.sampled_from(["jaccard", "dice"]),
    gamma=st.sampled_from([1.0, 1.5, 2.0]),
    smooth=st.sampled_from([0.0, 1e-3, 1.0]),
    norm=st.sampled_from([1.0, 2.0]),
    log=st.booleans(),
    classes=st.sampled_from(["present", "all"]),
    reduction=st.sampled_from(list(MEANS.values())),
)
sizes = st.tuples(st.integers(1, 4), st.integers(2, 5), st.integers(1, 12))
seeds = st.integers(0, 2**31)


def drawn(size: tuple[int, int, int], seed: int, ignored: float = 0.2) -> tuple[Tensor, Tensor]:
    """Logits (N, K, P) and labels (N, P), some of them 255."""
    images, classes, pixels = size
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, classes, pixels, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (images, pixels), generator=generator)
    labels[torch.rand(images, pixels, generator=generator) < ignored] = IGNORE
    return logits, labels


def terms(overlap: Overlap, classes: int) -> Loss:
    """Every term at once, with class weights."""
    weights = tuple(0.5 + c for c in range(classes))
    return Loss(
        cross_entropy=CrossEntropy(weight=0.7, class_weights=weights, label_smoothing=0.1),
        overlap=overlap.model_copy(update={"class_weights": weights}),
        focal=Focal(weight=0.3, gamma=1.5, class_weights=weights),
    )


@given(sizes, seeds, overlaps)
def test_overlap_loss_is_zero_where_a_soft_target_is_met(
    size: tuple[int, int, int], seed: int, settings: Overlap
) -> None:
    logits, _ = drawn(size, seed)
    assert float(overlap_loss(logits, logits.softmax(1), settings)) == pytest.approx(0, abs=1e-6)


@given(sizes, seeds, overlaps)
def test_a_hard_label_is_a_soft_one_of_one_class(
    size: tuple[int, int, int], seed: int, settings: Overlap
) -> None:
    logits, labels = drawn(size, seed, ignored=0.0)
    soft = functional.one_hot(labels, size[1]).movedim(-1, 1).double()
    assert torch.allclose(overlap_loss(logits, labels, settings), overlap_loss(logits, soft, settings))


@given(sizes, seeds, overlaps)
def test_no_loss_depends_on_the_order_of_images_pixels_or_classes(
    size: tuple[int, int, int], seed: int, settings: Overlap
) -> None:
    images, classes, pixels = size
    logits, labels = drawn(size, seed)
    loss = terms(settings, classes)
    before = Objective(loss)(logits, labels)
    generator = torch.Generator().manual_seed(seed + 1)
    by_image, by_pixel = (
        torch.randperm(images, generator=generator),
        torch.randperm(pixels, generator=generator),
    )
    moved = Objective(loss)(logits[by_image][..., by_pixel], labels[by_image][:, by_pixel])
    assert torch.allclose(before, moved)
    by_class = torch.randperm(classes, generator=generator)
    renamed = torch.where(labels == IGNORE, IGNORE, by_class.argsort()[labels.clamp_max(classes - 1)])
    weights = loss.class_weights["focal"]
    turned = {"class_weights": tuple(weights[int(c)] for c in by_class)}
    parts = {key: getattr(loss, key).model_copy(update=turned) for key in loss.class_weights}
    assert torch.allclose(before, Objective(loss.model_copy(update=parts))(logits[:, by_class], renamed))


@given(sizes, seeds, overlaps)
def test_what_is_ignored_changes_nothing(size: tuple[int, int, int], seed: int, settings: Overlap) -> None:
    logits, labels = drawn(size, seed, ignored=0.5)
    objective = Objective(terms(settings, size[1]))
    other, _ = drawn(size, seed + 1)
    noise = torch.where((labels == IGNORE).unsqueeze(1), 50 * other, logits)
    assert torch.allclose(objective(logits, labels), objective(noise, labels))


@given(sizes, seeds, overlaps)
def test_with_nothing_labeled_the_loss_is_zero_and_its_gradient_finite(
    size: tuple[int, int, int], seed: int, settings: Overlap
) -> None:
    logits, labels = drawn(size, seed)
    logits.requires_grad_()
    loss = Objective(terms(settings, size[1]))(logits, torch.full_like(labels, IGNORE))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-12)
    assert logits.grad is not None
    assert not logits.grad.any()


@given(sizes, seeds, overlaps, st.floats(0, 200))
def test_gradients_are_finite_and_right_however_sure_the_network_is(
    size: tuple[int, int, int], seed: int, settings: Overlap, sure: float
) -> None:
    logits, labels = drawn(size, seed)
    logits = (sure * logits).requires_grad_()
    loss = Objective(terms(settings, size[1]))(logits, labels)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert bool(loss.isfinite())
    assert bool(gradient.isfinite().all())
    # No pixel's gradient moves all its classes alike: softmax does not see it.
    assert torch.allclose(gradient.sum(1), torch.zeros_like(gradient[:, 0]), atol=1e-8)


@given(sizes, seeds, overlaps, st.integers(0, 4))
def test_the_losses_of_pieces_add_up_to_the_loss_of_the_batch(
    size: tuple[int, int, int], seed: int, settings: Overlap, cut: int
) -> None:
    logits, labels = drawn(size, seed)
    cut = min(cut, size[0])
    settings = settings.model_copy(
        update={"reduction": Reduction(per_batch=0.0, per_image=0.4, per_class=0.6)}
    )
    valid = torch.rand(labels.shape, generator=torch.Generator().manual_seed(seed)) < 0.8
    teacher = logits.flip(0)
    objective = Objective(terms(settings, size[1]), Distill(teacher="x"))
    whole = objective(logits, labels, valid=valid, teacher=teacher)
    counts = BatchCounts.of(labels, size[1], valid)
    parts = [slice(0, cut), slice(cut, None)]
    pieces = [
        objective(logits[p], labels[p], valid=valid[p], teacher=teacher[p], counts=counts)
        for p in parts
        if len(labels[p])
    ]
    assert torch.allclose(whole, torch.stack(pieces).sum())
    added = sum(BatchCounts.of(labels[p], size[1], valid[p]).vector for p in parts if len(labels[p]))
    assert torch.equal(torch.as_tensor(added), counts.vector)


def test_a_batch_of_pieces_averages_the_overlap_over_the_batch() -> None:
    counts = BatchCounts.of(B[1], 3)
    pieces = [overlap_loss(B[0][i : i + 1], B[1][i : i + 1], jaccard(), counts=counts) for i in range(2)]
    alone = [overlap_loss(B[0][i : i + 1], B[1][i : i + 1], jaccard()) for i in range(2)]
    assert torch.allclose(sum(pieces), sum(alone) / 2)


@given(sizes, seeds)
def test_cross_entropy_and_focal_loss_are_torchs_own(size: tuple[int, int, int], seed: int) -> None:
    logits, labels = drawn(size, seed)
    labels[0, 0] = 0
    mean = functional.cross_entropy(logits, labels, ignore_index=IGNORE)
    assert torch.allclose(cross_entropy(logits, labels), mean)
    assert torch.allclose(focal_loss(logits, labels, Focal(gamma=0.0)), mean)
    weights = torch.arange(1.0, size[1] + 1).double()
    given_ = tuple(weights.tolist())
    summed = functional.cross_entropy(
        logits, labels, weights, ignore_index=IGNORE, reduction="sum", label_smoothing=0.2
    )
    settings = CrossEntropy(class_weights=given_, label_smoothing=0.2)
    assert torch.allclose(cross_entropy(logits, labels, settings), summed / (labels != IGNORE).sum())


def test_focal_loss_by_hand() -> None:
    # (1 - .8)² · -log .8 and (1 - .6)² · -log .6, halved.
    expected = (0.04 * -math.log(0.8) + 0.16 * -math.log(0.6)) / 2
    assert float(focal_loss(*A)) == pytest.approx(expected, abs=1e-12)


@given(sizes, seeds, st.sampled_from([0.5, 1.0, 4.0]))
def test_imitation_is_zero_at_the_teacher_and_blind_to_a_shift(
    size: tuple[int, int, int], seed: int, temperature: float
) -> None:
    logits, _ = drawn(size, seed)
    teacher, _ = drawn(size, seed + 1)
    assert float(imitation_loss(logits, logits + 3.0, temperature)) == pytest.approx(0, abs=1e-10)
    loss = imitation_loss(logits, teacher, temperature)
    assert float(loss) >= 0
    q, p = (teacher / temperature).softmax(1), (logits / temperature).softmax(1)
    divergence = (q * (q / p).log()).sum(1).mean()
    assert torch.allclose(loss, temperature**2 * divergence)
    assert not imitation_loss(logits, teacher, temperature, torch.zeros(size[0], size[2], dtype=torch.bool))


def test_inner_outputs_count_with_their_weight_at_any_size() -> None:
    logits, labels = B[0][..., None], B[1][..., None]
    loss = Loss(cross_entropy=CrossEntropy())
    main = Objective(loss)(logits, labels)
    assert torch.allclose(Objective(loss)((logits,) * 4, labels), (1 + 3 * 0.4) * main)
    small = logits[:, :, ::2]
    shown = functional.interpolate(small, labels.shape[1:], mode="bilinear", align_corners=False)
    assert torch.allclose(Objective(loss)((logits, small), labels), main + 0.4 * cross_entropy(shown, labels))
    none = loss.model_copy(update={"deep_supervision": 0.0})
    assert torch.allclose(Objective(none)((logits,) * 4, labels), main)


def test_half_precision_is_summed_in_single() -> None:
    # 70 000 pixels: their sum is beyond float16.
    logits = torch.zeros(1, 2, 70_000, dtype=torch.float16)
    labels = torch.zeros(1, 70_000, dtype=torch.long)
    loss = Objective(Loss(overlap=Overlap(kind="jaccard"), focal=Focal()))(logits, labels)
    assert loss.dtype == torch.float32
    assert bool(loss.isfinite())


def test_labels_and_teachers_that_do_not_fit_are_refused() -> None:
    assert invalid_labels(torch.tensor([-1, 0, 2, 3, 254, 255]), 3).tolist() == [
        True,
        *[False] * 2,
        *[True] * 2,
        False,
    ]
    objective = Objective(Loss(), Distill(teacher="x"))
    with pytest.raises(RunError, match=r"teacher's logits are None"):
        objective(*B)
    with pytest.raises(RunError, match="same classes"):
        objective(*B, teacher=A[0])
