"""Laws of training: what chips may show, what losses are, and that a training can stop and go on."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import LabelError, RunError
from geoseg.grid.ground import model_grid
from geoseg.grid.window import Window
from geoseg.io.raster import SceneReader, describe
from geoseg.models.infer import scaled
from geoseg.models.registry import build
from geoseg.recipe.scene import LabelRef, SceneRef
from geoseg.train.augment import ColourSettings, Geometry, cut_holes, jitter, warp
from geoseg.train.chips import ChipSampler, ChipSettings
from geoseg.train.load import load_scene
from geoseg.train.loop import Trainer, TrainSettings
from geoseg.train.losses import IGNORE, OverlapLoss, SegmentationLoss, overlap_loss
from geoseg.train.scenes import LabelledScene, Split, scaling
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


# --- scenes and chips ---------------------


@given(
    st.integers(20, 150),
    st.integers(20, 150),
    st.floats(0.1, 1.0),
    st.sampled_from([0, 3, 4, 5, 6, 9]),
    st.integers(0, 8),
)
def test_training_and_validation_pixels_are_apart(
    height: int, width: int, metres: float, every: int, phase: int
) -> None:
    split = Split(block=8.0, every=every, margin=1.0, phase=phase)
    held = split.held_out((height, width), metres)
    grown = split.held_out((height, width), metres, grow=1.0)
    assert not (held & ~grown).any()
    if not every:
        assert not grown.any()
    # Whole rows of blocks: the last one may be thinner than a pixel.
    rows, cols = math.floor(height * metres / 8), math.ceil(width * metres / 8 - 1e-9)
    if every and rows >= every:
        # Each column of blocks gives its share.
        centres = np.minimum(((np.arange(cols) + 0.5) * 8 / metres).astype(int), width - 1)
        assert held[:, centres].any(0).all()


def test_a_chip_shows_no_label_of_a_held_out_block_or_outside_the_labelled_area() -> None:
    scene = checker(160)
    labels = scene.labels.copy()
    forbidden = scene.split.held_out(scene.shape, scene.resolution, grow=scene.split.margin)
    forbidden[:, 100:] = True
    # Class 2 stands wherever training must not look, class 255 where nothing is labelled.
    labels[forbidden] = 2
    labels[:, 100:] = IGNORE
    scene = replace(scene, labels=labels)
    sampler = ChipSampler([scene], ChipSettings(size=48, colour=PLAIN), seed=3)
    seen = torch.cat([sampler.chip(i).labels.unique() for i in range(60)]).unique()
    assert seen.tolist() == [0, 1, IGNORE]
    validation = scene.validation_labels()
    assert not (scene.training & scene.validation).any()
    assert set(np.unique(validation)) == {2, IGNORE}


@pytest.mark.parametrize("rotate", [0.0, 1.0])
def test_augmentation_keeps_labels_on_their_pixels(rotate: float) -> None:
    # The class can be read off the colour, so it must be readable off every chip too, edges of classes aside.
    scene = checker(200, side=20, split=Split(every=0))
    sampler = ChipSampler([scene], ChipSettings(size=64, rotate=rotate, colour=PLAIN), seed=5)
    for index in range(12):
        chip = sampler.chip(index)
        counted = chip.labels != IGNORE
        assert counted.float().mean() > 0.9
        readable = (chip.pixels[0] > 120).long()
        agree = readable == chip.labels
        assert agree[counted].float().mean() > (0.95 if rotate else 0.99)
        # A shift by one pixel anywhere agrees less.
        inner = (slice(2, -2), slice(2, -2))
        for shift in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            moved = readable.roll(shift, (0, 1)) == chip.labels
            assert moved[inner].float().mean() < agree[inner].float().mean() - 0.005


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_quarter_turns_and_flips_are_exact(turns: int, *, flip: bool) -> None:
    pixels = torch.arange(75.0).reshape(3, 5, 5)
    labels = torch.arange(25).reshape(5, 5)
    image, valid, ids = warp(
        pixels, torch.ones(5, 5, dtype=torch.bool), labels, 5, Geometry(1.0, 0.0, turns, flip)
    )
    assert torch.equal(image[0].long(), ids)
    assert sorted(ids.flatten().tolist()) == list(range(25))
    assert valid.all()


def test_pixels_without_data_lose_their_label_and_enter_the_network_as_zero() -> None:
    scene = checker(split=Split(every=0))
    valid = scene.valid.copy()
    valid[:, ::2] = False
    sampler = ChipSampler([replace(scene, valid=valid)], ChipSettings(size=32, colour=PLAIN), seed=1)
    chip = sampler.batch(0, 2)
    assert torch.equal(~chip.valid, chip.labels == IGNORE)
    values = scaled(chip.pixels, chip.valid, (10.0, 10.0, 10.0), (2.0, 2.0, 2.0))
    assert not values.movedim(1, -1)[~chip.valid].any()
    assert torch.equal(values[0, 0][chip.valid[0]], (chip.pixels[0, 0][chip.valid[0]] - 10) / 2)


def test_chips_depend_on_seed_and_number_alone() -> None:
    scenes = [checker(), checker(90, weight=3.0)]
    one, two = (ChipSampler(scenes, ChipSettings(size=32), seed=7) for _ in range(2))
    later = two.batch(3, 4)
    assert all(torch.equal(a, b) for a, b in zip(one.batch(3, 4), later, strict=True))
    assert torch.equal(one.chip(13).pixels, later.pixels[1])
    other = ChipSampler(scenes, ChipSettings(size=32), seed=8)
    assert not torch.equal(other.chip(13).pixels, later.pixels[1])


def test_scenes_smaller_than_a_chip_are_reflected_without_labels() -> None:
    scene = checker(24, side=6, split=Split(every=0))
    settings = ChipSettings(size=96, rotate=0, scales=(1.0, 1.0), colour=PLAIN)
    chip = ChipSampler([scene], settings, seed=2).chip(0)
    assert int((chip.labels != IGNORE).sum()) == 24 * 24
    assert set(chip.pixels[0].unique().tolist()) == {60.0, 180.0}


@given(st.integers(0, 10_000))
def test_colours_stay_in_the_range_of_the_data(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(rng.uniform(0, 255, (3, 12, 12)).astype(np.float32))
    wild = ColourSettings(brightness=0.5, contrast=0.9, hue=90, saturation=1, blur=1, noise=1, holes=1)
    changed = jitter(pixels, 255.0, wild, rng)
    assert changed.shape == pixels.shape
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 255
    valid, labels = cut_holes(torch.ones(40, 40, dtype=torch.bool), torch.ones(40, 40).long(), wild, rng)
    assert not valid.all()
    assert torch.equal(labels == IGNORE, ~valid)


def test_no_change_of_colour_is_no_change() -> None:
    pixels = torch.linspace(0, 255, 3 * 64).reshape(3, 8, 8)
    unchanged = jitter(pixels, 255.0, PLAIN, np.random.default_rng(0))
    assert torch.allclose(unchanged, pixels, atol=0.5)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"valid": np.ones((3, 3), bool)}, "do not lie on one grid"),
        ({"weight": 0.0}, "must be positive"),
        ({"labels": np.full((128, 128), IGNORE, np.uint8)}, "no pixel is labelled"),
    ],
)
def test_scenes_that_cannot_be_trained_on_are_refused(broken: dict[str, object], message: str) -> None:
    with pytest.raises(LabelError, match=message):
        checker(**broken)


def test_a_sampler_refuses_scenes_that_do_not_fit_together() -> None:
    with pytest.raises(LabelError, match="at least one"):
        ChipSampler([], ChipSettings(), seed=0)
    with pytest.raises(LabelError, match="agree in bands"):
        ChipSampler([checker(), checker(pixels=np.zeros((4, 128, 128), np.uint8))], ChipSettings(), seed=0)
    with pytest.raises(LabelError, match="one block of 3"):
        Split(every=2)
    with pytest.raises(LabelError, match="no scene has a held-out block"):
        Validation([checker(split=Split(every=0))], resolution=0.3, classes=2, scored=[1])


# --- scenes from files ---------------------


def write_scene(path: Path, pixels: np.ndarray, transform: Affine, crs: str = "EPSG:32614") -> Path:
    count, height, width = pixels.shape
    profile = {"count": count, "height": height, "width": width, "dtype": pixels.dtype, "crs": crs}
    with rasterio.open(path, "w", driver="GTiff", transform=transform, **profile) as file:
        file.write(pixels)
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[SceneRef, LabelRef]:
    """A scene of 0.15 m with polygons in a labelled area."""
    rng = np.random.default_rng(6)
    x, y = 620_000.0, 3_340_000.0
    transform = Affine(0.15, 0, x, 0, -0.15, y)
    image = write_scene(tmp_path / "scene.tif", rng.integers(0, 256, (3, 400, 600), np.uint8), transform)
    layers = {
        "buildings": shapely.box(x + 15, y - 35, x + 25, y - 15),
        "labelled_area": shapely.box(x + 10, y - 40, x + 40, y - 10),
    }
    labels = tmp_path / "labels.gpkg"
    for layer, geometry in layers.items():
        frame = geopandas.GeoDataFrame({"id": [1]}, geometry=[geometry], crs="EPSG:32614")
        frame.to_file(labels, layer=layer, engine="pyogrio")
    label = LabelRef(str(labels), layer="buildings", area_href=str(labels), area_layer="labelled_area")
    return SceneRef("here", (), href=str(image)), label


def test_a_scene_is_read_as_a_map_would_read_it(files: tuple[SceneRef, LabelRef]) -> None:
    ref, label = files
    scene = load_scene(ref, label, resolution=0.3, split=Split(every=0))
    assert scene.resolution == pytest.approx(0.3, rel=0.01)
    assert scene.pixels.dtype == np.uint8
    # The labelled area is 100 px wide; 64 px of surroundings are kept where the scene has them.
    assert scene.shape == pytest.approx((33 + 100 + 64, 33 + 100 + 64), abs=1)
    assert (scene.labels != IGNORE).sum() == pytest.approx(100 * 100, rel=0.03)
    assert (scene.labels == 1).sum() == pytest.approx(10 * 20 / 0.09, rel=0.05)
    grid = model_grid(describe(ref).geobox, 0.3)
    with SceneReader(describe(ref), grid) as reader:
        whole = reader.read(grid.window).pixels
    found = np.lib.stride_tricks.sliding_window_view(whole[0].round(), scene.shape)
    assert (found == scene.pixels[0]).all((2, 3)).sum() == 1


def test_a_scene_coarser_than_asked_keeps_its_pixels(files: tuple[SceneRef, LabelRef]) -> None:
    scene = load_scene(*files, resolution=0.05, split=Split(every=0))
    assert scene.resolution == pytest.approx(0.15, rel=0.01)


def test_a_limit_cannot_go_with_resampling_and_must_hold_labels(files: tuple[SceneRef, LabelRef]) -> None:
    with pytest.raises(LabelError, match=r"cannot be resampled to 0\.3 m"):
        load_scene(*files, resolution=0.3, limit=Window(0, 0, 400, 300))
    with pytest.raises(LabelError, match="outside the scene of 400×600"):
        load_scene(*files, resolution=0.15, limit=Window(500, 0, 100, 100))
    with pytest.raises(LabelError, match="nothing is labelled"):
        load_scene(*files, resolution=0.15, limit=Window(0, 500, 400, 100))


@pytest.mark.data
def test_training_reads_nothing_of_austins_right_half(
    shared_data: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(root / "examples"))
    script = importlib.import_module("train_buildings")
    folder = tmp_path / "buildings" / "austin_inria"
    folder.mkdir(parents=True)
    for name in ("austin_sample.tif", "austin_sample_mask.tif"):
        with rasterio.open(shared_data / "buildings" / "austin_inria" / name) as source:
            pixels, transform = source.read(), source.transform
        # Another picture from column 500 on, with other labels.
        pixels[..., 500:] = 255 - pixels[..., 500:]
        write_scene(folder / name, pixels, transform, "EPSG:26914")
    real, poisoned = script.austin_scene(shared_data), script.austin_scene(tmp_path)
    assert real.shape == (1000, 500)
    assert not real.chooses
    for part in ("pixels", "valid", "labels"):
        assert np.array_equal(getattr(real, part), getattr(poisoned, part))


# --- validation and the loop ---------------------


def test_validation_scores_exactly_the_held_out_blocks() -> None:
    scenes = [checker(), checker(name="other", chooses=False)]
    validation = Validation(scenes, resolution=0.3, classes=2, scored=[1])
    count = int(scenes[0].validation.sum())

    def right(pixels: torch.Tensor, _valid: torch.Tensor) -> torch.Tensor:
        bright = (pixels[:, :1] > 120).float()
        return torch.cat([1 - bright, bright], 1)

    score = validation.score(right)
    assert score.iou == {"checker": (1.0, 1.0), "other": (1.0, 1.0)}
    assert score.pixels == {"checker": count, "other": count}
    assert score.chosen == 1
    half = validation.score(lambda p, v: right(p, v) * (torch.arange(2.0).view(1, 2, 1, 1) * 2 - 1) + 0.5)
    truth = scenes[0].validation_labels()
    assert half.iou["checker"][1] == pytest.approx((truth == 1).sum() / count)


@pytest.mark.parametrize("window", [32, 48, 1024])
def test_validation_windows_of_any_size_score_the_same_pixels_once(window: int) -> None:
    scene = checker(137)
    validation = Validation(
        [scene], resolution=0.21, classes=2, scored=[1], window=window, context=8 if window < 100 else 0
    )
    shape = (round(137 * 0.3 / 0.21),) * 2
    held = scene.split.held_out(shape, 0.21)

    def bright(pixels: torch.Tensor, _valid: torch.Tensor) -> torch.Tensor:
        assert max(pixels.shape[2:]) <= -(-min(window, shape[0]) // 64) * 64
        return torch.cat([120 - pixels[:, :1], pixels[:, :1] - 120], 1)

    score = validation.score(bright)
    assert score.pixels == {"checker": int(held.sum())}
    assert score.chosen > 0.95


def trainer(folder: Path, steps: int = 24, **changes: object) -> Trainer:
    """A toy training: Micro-Net of a few channels on a scene whose class is its colour."""
    torch.manual_seed(4)
    network = build(
        "mininet-1", bands=3, classes=2, widths=(6, 8, 10, 12), blocks=(1, 1, 1, 1), auxiliary=True
    )
    scene = checker(96)
    mean, std = scaling([scene])
    settings = TrainSettings(
        steps=steps, batch=2, rate=1e-2, warmup=4, average=0.9, validate_every=6, checkpoint_every=5
    )
    return Trainer(
        network,
        ChipSampler([scene], ChipSettings(size=32), seed=11),
        Validation([scene], resolution=0.3, classes=2, scored=[1]),
        mean=mean,
        std=std,
        settings=replace(settings, **changes),
        folder=folder,
    )


def test_a_toy_is_learned(tmp_path: Path) -> None:
    lines: list[str] = []
    work = trainer(tmp_path, steps=60, validate_every=20)
    work.progress = lines.append
    result = work.run()
    assert result is not None
    assert result.score.chosen > 0.9
    assert result.history[-1]["loss"] < 0.7 * result.history[0]["loss"]
    assert len(lines) == len(result.history) == 3
    assert lines[0].startswith("step 20/60 loss ")
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
