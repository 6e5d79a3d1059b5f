"""Laws of the data that a training sees: what chips may show, what is never read, what stays in memory."""

from __future__ import annotations

import math
import pickle
import tracemalloc
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rasters import write_raster
from support.training_toys import PLAIN, checker
from support.vectors import write_layer

from geoseg.config.model.contract import Scaling
from geoseg.config.stac.refs import LabelRef, SceneRef
from geoseg.errors import GeosegError, LabelError
from geoseg.grid.encoding import IGNORE
from geoseg.grid.ground import model_grid
from geoseg.grid.window import Window
from geoseg.io.raster.scene import Reading, describe
from geoseg.io.raster.scene_reader import SceneReader
from geoseg.models.backends.torch import scaled_tensor
from geoseg.training.data.augment import ColorSettings, Geometry, Limits, cut_holes, jitter, warp
from geoseg.training.data.cache import SceneCache
from geoseg.training.data.chips import ChipSampler, ChipSettings
from geoseg.training.data.file_scene import FileScene, open_scene
from geoseg.training.data.holdout import Split
from geoseg.training.data.index import fit_scaling, index_scene
from geoseg.training.data.loader import ChipLoader
from geoseg.training.data.scenes import TILE, training_labels, validation_labels
from geoseg.training.validate import Validation

# --- scenes and chips ---------------------


@given(
    st.integers(20, 150),
    st.integers(20, 150),
    st.floats(0.1, 1.0),
    st.sampled_from([0, 3, 4, 5, 6, 9]),
    st.integers(0, 8),
)
def test_training_and_validation_pixels_are_apart(
    height: int, width: int, meters: float, every: int, phase: int
) -> None:
    split = Split(block=8.0, every=every, margin=1.0, phase=phase)
    held = split.held_out((height, width), meters)
    grown = split.held_out((height, width), meters, grow=1.0)
    assert not (held & ~grown).any()
    if not every:
        assert not grown.any()
    # A window of a scene holds out what the whole scene does there.
    top, left = height // 3, width // 4
    part = split.held_out((height - top, width - left), meters, grow=1.0, origin=(top, left))
    assert np.array_equal(part, grown[top:, left:])
    # Whole rows of blocks: the last one may be thinner than a pixel.
    rows, cols = math.floor(height * meters / 8), math.ceil(width * meters / 8 - 1e-9)
    if every and rows >= every:
        # Each column of blocks gives its share.
        centers = np.minimum(((np.arange(cols) + 0.5) * 8 / meters).astype(int), width - 1)
        assert held[:, centers].any(0).all()


def test_a_chip_shows_no_label_of_a_held_out_block_or_outside_the_labelled_area() -> None:
    scene = checker(160)
    labels = scene.labels.copy()
    forbidden = scene.split.held_out(scene.shape, scene.resolution, grow=scene.split.margin)
    forbidden[:, 100:] = True
    # Class 2 stands wherever training must not look, class 255 where nothing is labeled.
    labels[forbidden] = 2
    labels[:, 100:] = IGNORE
    scene = replace(scene, labels=labels)
    sampler = ChipSampler([scene], ChipSettings(size=48, color=PLAIN), seed=3)
    seen = torch.cat([sampler.chip(i).labels.unique() for i in range(60)]).unique()
    assert seen.tolist() == [0, 1, IGNORE]
    whole = Window(0, 0, *scene.shape)
    validation = validation_labels(scene, whole, labels)
    training = training_labels(scene, whole, labels)
    assert not ((training != IGNORE) & (validation != IGNORE)).any()
    assert set(np.unique(validation)) == {2, IGNORE}
    assert index_scene(scene).classes == (0, 1)


@pytest.mark.parametrize("rotate", [0.0, 1.0])
def test_augmentation_keeps_labels_on_their_pixels(rotate: float) -> None:
    # The class can be read off the color, so it must be readable off every chip too, edges of classes aside.
    scene = checker(200, side=20, split=Split(every=0))
    sampler = ChipSampler([scene], ChipSettings(size=64, rotate=rotate, color=PLAIN), seed=5)
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
    sampler = ChipSampler([replace(scene, valid=valid)], ChipSettings(size=32, color=PLAIN), seed=1)
    chip = sampler.batch(0, 2)
    assert torch.equal(~chip.valid, chip.labels == IGNORE)
    values = scaled_tensor(chip.pixels, chip.valid, Scaling(mean=(10.0,) * 3, std=(2.0,) * 3))
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
    settings = ChipSettings(size=96, rotate=0, scales=(1.0, 1.0), color=PLAIN)
    chip = ChipSampler([scene], settings, seed=2).chip(0)
    assert int((chip.labels != IGNORE).sum()) == 24 * 24
    assert set(chip.pixels[0].unique().tolist()) == {60.0, 180.0}


@given(st.integers(0, 10_000))
def test_colors_stay_in_the_range_of_the_data(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(rng.uniform(0, 255, (3, 12, 12)).astype(np.float32))
    wild = ColorSettings(brightness=0.5, contrast=0.9, hue=90, saturation=1, blur=1, noise=1, holes=1)
    changed = jitter(pixels, Limits.of_bytes(3), wild, rng)
    assert changed.shape == pixels.shape
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 255
    valid, labels = cut_holes(torch.ones(40, 40, dtype=torch.bool), torch.ones(40, 40).long(), wild, rng)
    assert not valid.all()
    assert torch.equal(labels == IGNORE, ~valid)


def test_no_change_of_color_is_no_change() -> None:
    pixels = torch.linspace(0, 255, 3 * 64).reshape(3, 8, 8)
    unchanged = jitter(pixels, Limits.of_bytes(3), PLAIN, np.random.default_rng(0))
    assert torch.allclose(unchanged, pixels, atol=0.5)


@pytest.mark.parametrize(
    ("dtype", "scale", "offset"),
    [("uint16", 12.0, 300.0), ("int16", 20.0, -9000.0), ("float32", 0.4 / 255, 0.0), ("float32", 1e-6, 1.0)],
)
def test_colors_change_alike_whatever_units_the_same_picture_is_in(
    dtype: str, scale: float, offset: float
) -> None:
    rng = np.random.default_rng(4)
    picture = np.kron(rng.integers(15, 220, (3, 24, 24)), np.ones((1, 4, 4))).astype(np.uint8)
    scene = checker(pixels=picture)
    stored = replace(scene, pixels=(picture * scale + offset).astype(dtype))
    settings = ChipSettings(size=48)
    sampler = ChipSampler([stored], settings, seed=3)
    black = 0
    for number in range(20):
        chip = sampler.chip(number)
        back = ((chip.pixels - offset) / scale)[:, chip.valid]
        black += int((back < 1).float().mean() > 0.5)
        assert float(back.std()) > 10, "neither black nor flat"
        assert float(back.min()) > -130
        assert float(back.max()) < 380
    assert black == 0
    assert sampler.newly_clipped() < 0.01, "the measured range has room for the usual changes"
    wild = replace(settings, color=ColorSettings(brightness=1.0, contrast=0.9))
    assert ChipSampler([stored], wild, seed=3).newly_clipped() > 0.01


def test_8_bits_are_changed_within_their_whole_range_whatever_they_hold() -> None:
    dim = checker(pixels=np.random.default_rng(1).integers(20, 60, (3, 96, 96)).astype(np.uint8))
    limits = ChipSampler([dim], ChipSettings(size=32), seed=0).limits
    assert (limits.low.tolist(), limits.width.tolist()) == ([[[0.0]]] * 3, [[[255.0]]] * 3)


def test_three_bands_share_a_range_and_others_have_their_own() -> None:
    seen = [(0.0, 100.0), (50.0, 200.0), (10.0, 20.0)]
    assert Limits.of_range(seen).low.ravel().tolist() == [-50.0] * 3
    assert Limits.of_range([*seen, (3.0, 3.0)]).width.ravel().tolist() == [150.0, 225.0, 15.0, 4.5]


def test_a_sampler_refuses_scenes_that_do_not_fit_together() -> None:
    with pytest.raises(LabelError, match="at least one"):
        ChipSampler([], ChipSettings(), seed=0)
    with pytest.raises(LabelError, match="agree in bands"):
        ChipSampler([checker(), checker(pixels=np.zeros((4, 96, 96), np.uint8))], ChipSettings(), seed=0)
    with pytest.raises(LabelError, match="checker: no pixel is labeled and left to train on; its pixels"):
        ChipSampler([checker(labels=np.full((96, 96), IGNORE, np.uint8))], ChipSettings(), seed=0)
    with pytest.raises(LabelError, match="the held-out blocks take all of it"):
        ChipSampler([checker(split=Split(block=400, every=3))], ChipSettings(), seed=0)
    with pytest.raises(LabelError, match="checker: labels hold the class ids 1, the training has 0 ground"):
        index_scene(checker(), ["ground"])
    with pytest.raises(LabelError, match="one block of 3"):
        Split(every=2)
    with pytest.raises(LabelError, match="no scene has a held-out block"):
        Validation([checker(split=Split(every=0))], resolution=0.3, classes=2, scored=[1])


def test_scenes_that_are_held_out_as_a_whole_are_scored_and_give_no_chips() -> None:
    held, rest = (checker(name=name, split=Split(block=400, every=3, phase=n)) for n, name in enumerate("ab"))
    sampler = ChipSampler([held, rest], ChipSettings(size=32), seed=0)
    assert {name for step in range(4) for name in sampler.scenes_of(step, 16)} == {"b"}
    assert fit_scaling([held, rest], sampler.indexes) == fit_scaling([rest], sampler.indexes[1:])
    validation = Validation([held, rest], resolution=0.3, classes=2, scored=[1])
    assert {seen.scene.name for seen in validation.windows()} == {"a"}
    assert [index.pixels == 0 for index in sampler.indexes] == [True, False]


# --- scenes from files ---------------------


X, Y = 620_000.0, 3_340_000.0
UTM = "EPSG:32614"
NATIVE = Affine(0.15, 0, X, 0, -0.15, Y)
write_scene = partial(write_raster, crs=UTM, transform=NATIVE)


def write_labels(path: Path, crs: str = UTM, **extra: shapely.Geometry) -> LabelRef:
    """One building of 10 m × 20 m in a labeled area of 30 m × 30 m."""
    layers = {
        "buildings": shapely.box(X + 15, Y - 35, X + 25, Y - 15),
        "labelled_area": shapely.box(X + 10, Y - 40, X + 40, Y - 10),
    } | extra
    for layer, geometry in layers.items():
        write_layer(path, [geometry], UTM, layer, to_crs=crs)
    return LabelRef(str(path), layer="buildings", area_href=str(path), area_layer="labelled_area")


@pytest.fixture
def files(tmp_path: Path) -> tuple[SceneRef, LabelRef]:
    """A scene of 0.15 m with polygons in a labeled area."""
    rng = np.random.default_rng(6)
    image = write_scene(tmp_path / "scene.tif", rng.integers(0, 256, (3, 400, 600), np.uint8))
    return SceneRef("here", (), href=str(image)), write_labels(tmp_path / "labels.gpkg")


def opened(files: tuple[SceneRef, LabelRef], resolution: float = 0.3, **arguments: object) -> FileScene:
    return open_scene(*files, resolution=resolution, **{"cache": SceneCache(10**8)} | arguments)


def whole(scene: FileScene) -> Window:
    return Window(0, 0, *scene.shape)


def test_a_scene_is_read_as_a_map_would_read_it(files: tuple[SceneRef, LabelRef]) -> None:
    scene = opened(files, split=Split(every=0))
    assert scene.resolution == pytest.approx(0.3, rel=0.01)
    assert scene.dtype == np.uint8
    # The labeled area is 100 px wide; 64 px of surroundings are kept where the scene has them.
    assert scene.shape == pytest.approx((33 + 100 + 64, 33 + 100 + 64), abs=1)
    patch = scene.patch(whole(scene))
    assert (patch.labels != IGNORE).sum() == pytest.approx(100 * 100, rel=0.03)
    assert (patch.labels == 1).sum() == pytest.approx(10 * 20 / 0.09, rel=0.05)
    with SceneReader(describe(files[0]), model_grid(describe(files[0]).geobox, 0.3)) as reader:
        raster = reader.read(scene.extent)
    assert np.array_equal(raster.pixels.round(), patch.pixels)


def test_a_scene_coarser_than_asked_keeps_its_pixels(files: tuple[SceneRef, LabelRef]) -> None:
    scene = opened(files, 0.1)
    assert scene.grid == describe(files[0]).geobox
    assert scene.resolution == pytest.approx(0.15, rel=0.01)
    assert scene.at(0.3).resolution == pytest.approx(0.3, rel=0.01)
    assert scene.at(0.15) is scene


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from([0, 2_000_000, 10**8]))
def test_windows_and_memory_change_no_pixel(window_seed: int, limit: int) -> None:
    scene, patch = LARGE()
    rng = np.random.default_rng(window_seed)
    height, width = (int(rng.integers(1, n)) for n in scene.shape)
    row, col = int(rng.integers(scene.shape[0] - height)), int(rng.integers(scene.shape[1] - width))
    window = Window(row, col, height, width)
    small = replace(scene, cache=SceneCache(limit))
    for _ in range(2):
        for found, expected in zip(small.patch(window), patch, strict=True):
            assert np.array_equal(found, expected[..., row : row + height, col : col + width])
    assert small.cache.bytes <= limit


class _Large:
    """A scene of many tiles, opened once for all examples."""

    def __init__(self) -> None:
        self.value: tuple[FileScene, object] | None = None

    def __call__(self):  # noqa: ANN204 - a fixture that Hypothesis may use
        assert self.value is not None
        return self.value


LARGE = _Large()


@pytest.fixture(scope="module", autouse=True)
def large(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(8)
    pixels = rng.integers(0, 256, (3, 1500, 1400), np.uint8)
    image = write_scene(folder / "scene.tif", pixels)
    truth = write_scene(folder / "truth.tif", (pixels[:1] > 128).astype(np.uint8))
    scene = opened((SceneRef("large", (), href=str(image)), LabelRef(str(truth))), 0.15)
    LARGE.value = scene, scene.patch(whole(scene))


def reading_bytes(scene: FileScene) -> int:
    """What cutting a chip takes beside the cache and the chip itself.

    It is a tile that is being read, the pixels it is made of, and a copy in which the center is sought.
    """
    rows, cols = (own / ours for own, ours in zip(scene.scene.geobox.shape, scene.grid.shape, strict=True))
    source = rows * cols * (scene.bands * np.dtype(scene.scene.dtype).itemsize + 2)
    return int(TILE**2 * (source + 9 * scene.bands + 36))


def test_an_archive_is_sampled_within_the_memory_bound() -> None:
    # The scene has 10.5 MB of pixels, validity and labels; the cache takes a quarter of them.
    scene, _ = LARGE()
    limit = 8 * TILE**2 * 5
    small = replace(scene, cache=SceneCache(limit))
    how = ChipSettings(size=64, resolution=0.15, scales=(1.0, 1.0), rotate=0, color=PLAIN)
    cut = how.source_side(0.15) ** 2 * 5
    sampler = ChipSampler([small], how, seed=3)
    assert small.cache.bytes <= limit
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for index in range(25):
            sampler.chip(index)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= limit + reading_bytes(small) + 12 * cut
    assert small.cache.bytes <= limit
    assert small.cache.reads > 60
    roomy = ChipSampler([scene], how, seed=3)
    assert all(torch.equal(a, b) for i in (0, 7) for a, b in zip(sampler.chip(i), roomy.chip(i), strict=True))
    assert scene.cache.reads <= 36


def test_a_sampler_travels_small_and_cuts_the_same_chips_elsewhere() -> None:
    scene, _ = LARGE()
    sampler = ChipSampler([scene], ChipSettings(size=(32, 64), resolution=0.15), seed=5)
    packed = pickle.dumps(sampler)
    assert len(packed) < 20_000
    twin = pickle.loads(packed)  # noqa: S301 - our own
    sizes = set()
    for step in range(4):
        ours, theirs = sampler.batch(step, 2), twin.batch(step, 2)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
        halves = [sampler.batch(step, 2, part=(i, 2)) for i in range(2)]
        assert torch.equal(torch.cat([half.pixels for half in halves]), ours.pixels)
        sizes.add(ours.pixels.shape[-1])
    assert sizes == {32, 64}


@pytest.mark.slow
def test_threads_and_processes_cut_the_same_chips() -> None:
    scene, _ = LARGE()
    how = ChipSettings(size=(40, 72), resolution=0.2, color=ColorSettings(blur=1, noise=1))
    sampler = ChipSampler([scene], how, seed=9)
    assert sampler.identity != ChipSampler([scene], how, seed=8, indexes=sampler.indexes).identity
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = [sampler.batch(step, 2) for step in range(2, 6)]
        torch.set_num_threads(3)
        found = []
        for workers in (1, 2):
            with ChipLoader(sampler, 2, first=2, stop=6, workers=workers) as feed:
                found.append(list(feed))
    finally:
        torch.set_num_threads(threads)
    assert len(sampler.scenes_of(2, 2)) == 2
    for batches in found:
        assert len(batches) == 4
        for batch, other in zip(batches, expected, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(batch, other, strict=True))


@pytest.mark.slow
def test_what_a_worker_process_meets_is_said_here(tmp_path: Path) -> None:
    files = SceneRef("gone", (), href=str(_noise(tmp_path))), LabelRef(str(_noise(tmp_path, 1)))
    scene = opened(files, split=Split(every=0))
    sampler = ChipSampler([scene], ChipSettings(size=32), seed=1)
    Path(scene.label.href).unlink()
    scene.cache.close()
    for workers in (1, 2):
        with (
            pytest.raises(LabelError, match=r"scene gone: .*noise1\.tif"),
            ChipLoader(sampler, 2, first=0, stop=2, workers=workers) as feed,
        ):
            list(feed)


def _noise(folder: Path, count: int = 3) -> Path:
    pixels = np.random.default_rng(0).integers(0, 2, (count, 90, 90), np.uint8)
    return write_scene(folder / f"noise{count}.tif", pixels)


def test_scaling_is_that_of_the_training_pixels(files: tuple[SceneRef, LabelRef]) -> None:
    scene = opened(files, split=Split(block=9, every=5))
    patch = scene.patch(whole(scene))
    counted = training_labels(scene, whole(scene), patch.labels) != IGNORE
    found = fit_scaling([scene], [index_scene(scene)])
    values = patch.pixels[:, counted].astype(float)
    assert found.mean == pytest.approx(values.mean(1), rel=1e-5)
    assert found.std == pytest.approx(values.std(1), rel=1e-5)


@pytest.mark.parametrize("resolution", [0.1, 0.37])
def test_nothing_outside_a_window_is_ever_read(
    files: tuple[SceneRef, LabelRef], resolution: float, tmp_path: Path
) -> None:
    ref, label = files
    assert ref.href is not None
    limit = Window(60, 20, 150, 130)
    with rasterio.open(ref.href) as source:
        pixels = source.read()
    # Other values everywhere outside, of another kind even: what is read must not depend on them.
    poisoned = np.full(pixels.shape, 77, np.uint8)
    inside = (slice(None), *limit.slices)
    poisoned[inside] = pixels[inside]
    truth = np.full((1, 400, 600), 99, np.uint8)
    truth[inside] = pixels[:1][inside] % 2
    clean = truth.copy()
    clean[truth == 99] = 1
    found = []
    for name, image, labels in (("clean", pixels, clean), ("poisoned", poisoned, truth)):
        folder = tmp_path / name
        folder.mkdir()
        ref = SceneRef("here", (), href=str(write_scene(folder / "scene.tif", image)))
        label = LabelRef(str(write_scene(folder / "truth.tif", labels)))
        scene = opened((ref, label), resolution, limit=limit, split=Split(block=4, margin=0.5))
        sampler = ChipSampler([scene], ChipSettings(size=48, resolution=0.3), seed=1, indexes=None)
        index_scene(scene, ["ground", "building"])  # class 99 would be refused
        validation = Validation([scene], resolution=0.3, classes=2, scored=[1], window=64, context=8)
        found.append([sampler.chip(i) for i in range(6)] + [list(seen)[2:] for seen in validation.windows()])
    for one, other in zip(*found, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_labels_in_another_crs_are_reprojected_and_invalid_ones_repaired(
    files: tuple[SceneRef, LabelRef], tmp_path: Path
) -> None:
    ref, label = files
    plain = opened((ref, label))
    bow = shapely.Polygon([(X + 15, Y - 35), (X + 25, Y - 15), (X + 25, Y - 35), (X + 15, Y - 15)])
    other = opened((ref, write_labels(tmp_path / "far.gpkg", "EPSG:4326", buildings=bow)))
    assert (plain.repaired, other.repaired) == (0, 1)
    ours, theirs = (s.patch(whole(s)).labels for s in (plain, other))
    assert (ours != IGNORE).sum() == pytest.approx((theirs != IGNORE).sum(), rel=0.02)
    assert (theirs == 1).sum() == pytest.approx((ours == 1).sum() / 2, rel=0.05)


def test_a_gray_image_is_learned_from_as_equal_bands(files: tuple[SceneRef, LabelRef]) -> None:
    colors = opened(files).patch(whole(opened(files))).pixels
    for entry in ([2, 2, 2], ["Green", 2, "g"]):
        gray = opened(files, reading=Reading(tuple(entry)))
        np.testing.assert_array_equal(gray.patch(whole(gray)).pixels, colors[[1, 1, 1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limit": Window(500, 0, 100, 100)}, r"scene here: the window .* outside its 400×600 pixels"),
        ({"limit": Window(0, 500, 400, 100)}, r"scene here: nothing of it is labeled by .*labels\.gpkg"),
        ({"reading": Reading(("nir",))}, "scene here.*nir"),
    ],
)
def test_files_that_cannot_be_trained_on_are_refused_by_name(
    files: tuple[SceneRef, LabelRef], change: dict[str, object], message: str
) -> None:
    with pytest.raises(GeosegError, match=message):
        opened(files, **change)


def test_labels_elsewhere_are_refused_by_name(files: tuple[SceneRef, LabelRef], tmp_path: Path) -> None:
    far = shapely.box(X + 9000, Y, X + 9010, Y + 10)
    label = write_labels(tmp_path / "far.gpkg", buildings=far, labelled_area=far)
    with pytest.raises(LabelError, match=r"scene here: label.*far\.gpkg.*overlap the scene"):
        opened((files[0], label))


# --- validation ---------------------


def test_validation_scores_exactly_the_held_out_blocks() -> None:
    scenes = [checker(), checker(name="other", chooses=False)]
    validation = Validation(scenes, resolution=0.3, classes=2, scored=[1])
    truth = validation_labels(scenes[0], Window(0, 0, *scenes[0].shape), scenes[0].labels)
    count = int((truth != IGNORE).sum())

    def right(pixels: torch.Tensor, _valid: torch.Tensor) -> torch.Tensor:
        bright = (pixels[:, :1] > 120).float()
        return torch.cat([1 - bright, bright], 1)

    score = validation.score(right)
    assert score.iou == {"checker": (1.0, 1.0), "other": (1.0, 1.0)}
    assert score.pixels == {"checker": count, "other": count}
    assert score.chosen == 1
    half = validation.score(lambda p, v: right(p, v) * (torch.arange(2.0).view(1, 2, 1, 1) * 2 - 1) + 0.5)
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
