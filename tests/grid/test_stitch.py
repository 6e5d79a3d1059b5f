"""Laws of stitching and of the probability store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.grid.blend import BLENDS
from geoseg.grid.encoding import NODATA, ProbabilityEncoding
from geoseg.grid.stitch import Prediction, Stitcher
from geoseg.grid.tiling import TileGrid, tile_grid
from geoseg.grid.window import Window


def reflected(image: np.ndarray, window: Window) -> np.ndarray:
    """Oracle: the window's pixels of the endlessly reflected image (channels, height, width)."""

    def index(start: int, count: int, length: int) -> np.ndarray:
        if length == 1:
            return np.zeros(count, int)
        i = np.abs(np.arange(start, start + count)) % (2 * (length - 1))
        return np.minimum(i, 2 * (length - 1) - i)

    rows = index(window.row, window.height, image.shape[1])
    cols = index(window.col, window.width, image.shape[2])
    return image[:, rows][:, :, cols]


def stitch_scene(
    stitcher: Stitcher, image: np.ndarray, valid: np.ndarray, bands: int, batch: int
) -> np.ndarray:
    """Stitch with an identity network: logits are the image itself."""
    out = np.full((stitcher.classes, *image.shape[1:]), np.inf, np.float32)
    written = np.zeros(image.shape[1:], int)

    def emit(window: Window, found: Prediction) -> None:
        out[:, *window.slices] = np.nan if found.logits is None else found.logits
        out[:, *window.slices][:, ~found.valid] = np.nan
        written[window.slices] += 1

    def predict(windows: Sequence[Window]) -> list[Prediction]:
        predictions = []
        for window in windows:
            ok = reflected(valid[None], window)[0]
            predictions.append(Prediction(reflected(image, window) if ok.any() else None, ok))
        return predictions

    columns: list[range | None] = [None]
    if stitcher.blend == "crop" and bands > 1:
        every = range(len(stitcher.tiles.cols))
        columns = [every[first : first + 2] for first in every[::2]]
    waiting = None
    for band in stitcher.tiles.window_rows(bands):
        for some in columns:
            seams = stitcher.stitch(band, predict, batch, emit, some)
            if some is not None:
                finished = slice(*stitcher.finished_rows(band)), slice(*stitcher.finished_cols(some))
                assert (written[finished] == 1).all()
        lo, hi = stitcher.overlap_above(band.first)
        if seams.top is not None:
            shared = waiting + seams.top
            assert (np.isnan(shared) == ~valid[lo:hi]).all()
            emit(Window(lo, 0, hi - lo, image.shape[2]), Prediction(shared, ~np.isnan(shared[0])))
        waiting = seams.bottom
        first, stop = stitcher.finished_rows(band)
        assert (written[first:stop] == 1).all()
    assert waiting is None
    assert (written == 1).all(), "each pixel is finished exactly once"
    return out


@st.composite
def grids(draw: st.DrawFn) -> tuple[TileGrid, str]:
    shape = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    alignment = draw(st.sampled_from([1, 4]))
    halo = draw(st.integers(0, 3)) * alignment
    window = 2 * halo + max(2 * halo, alignment) + alignment * draw(st.integers(0, 5))
    blend = draw(st.sampled_from(BLENDS))
    tiles = tile_grid(shape, window, halo, alignment, draw(st.none() | st.integers(0, halo)))
    for axis in (tiles.rows, tiles.cols):
        if axis.stride < 2 * axis.halo and len(axis) > 1:
            blend = "crop"
    return tiles, blend


@given(grids(), st.integers(0, 2**32 - 1), st.sampled_from([-1.0, 0.4]))
def test_identity_comes_back_and_bits_do_not_depend_on_bands_or_batches(
    grid: tuple[TileGrid, str], seed: int, share_empty: float
) -> None:
    tiles, blend = grid
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(3, tiles.rows.length, tiles.cols.length)).astype(np.float32)
    valid = rng.random(image.shape[1:]) > share_empty
    stitcher = Stitcher(tiles, blend, 3)
    whole = stitch_scene(stitcher, image, valid, len(tiles.rows), len(tiles.cols))
    assert (np.isnan(whole) == ~valid).all()
    if blend == "crop":
        assert np.array_equal(whole[:, valid], image[:, valid])
    else:
        assert np.allclose(whole[:, valid], image[:, valid], rtol=0, atol=1e-5)
    for bands in (1, 2):
        for batch in (1, 3):
            again = stitch_scene(stitcher, image, valid, bands, batch)
            assert np.array_equal(again, whole, equal_nan=True)


@given(grids(), st.lists(st.floats(-9, 9, width=32), min_size=2, max_size=4))
def test_a_constant_network_comes_back_unchanged(grid: tuple[TileGrid, str], values: list[float]) -> None:
    tiles, blend = grid
    image = np.empty((len(values), tiles.rows.length, tiles.cols.length), np.float32)
    image[:] = np.asarray(values, np.float32)[:, None, None]
    valid = np.ones(image.shape[1:], bool)
    out = stitch_scene(Stitcher(tiles, blend, len(values)), image, valid, 1, 2)
    assert np.allclose(out, image, rtol=3e-7, atol=1e-6)


@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.floats(0.01, 1))
def test_classes_are_a_function_of_the_store(classes: int, seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(classes, 9, 11)).astype(np.float32)
    logits[:, rng.random((9, 11)) < 0.2] = np.nan
    encoding = ProbabilityEncoding(classes, 0 if classes == 2 else None, threshold)
    stored = encoding.encode(logits)
    empty = np.isnan(logits[0])
    assert (stored[:, empty] == NODATA).all()
    raised = np.exp(logits.astype(np.float64))
    probability = (raised / raised.sum(axis=0))[list(encoding.class_ids)]
    assert (np.abs(stored / 200 - probability)[:, ~empty] <= 0.5 / 200 + 1e-5).all()
    chosen = encoding.classify(stored)
    assert (chosen[empty] == NODATA).all()
    if encoding.binary:
        assert ((stored[0] / 200 >= threshold - 1e-9) == (chosen == 1))[~empty].all()
    else:
        assert (chosen == stored.argmax(axis=0))[~empty].all()
    confidence = encoding.confidence(stored, chosen)
    assert (confidence[empty] == NODATA).all()
    assert (confidence[~empty] >= 200 // classes - classes).all() or encoding.binary


@pytest.mark.parametrize(
    ("classes", "background", "border"),
    [(2, 0, False), (2, 1, False), (2, None, False), (2, 0, True), (5, 2, False)],
)
def test_what_is_stored_has_the_bits_of_numpys_softmax(
    classes: int,
    background: int | None,
    border: bool,  # noqa: FBT001 - a parameter
) -> None:
    encoding = ProbabilityEncoding(classes, background, border=border)
    rng = np.random.default_rng(classes)
    logits = rng.normal(scale=4, size=(encoding.channels, 300, 301)).astype(np.float32)
    logits[:, 9] = 1.5
    logits[0, :, 7] = np.nan
    raised = np.exp(logits - logits.max(axis=0))
    total = raised[0].copy()
    for channel in raised[1:]:
        total += channel
    shares = [*raised[: encoding.classes]]
    if border:
        shares = [raised[0], raised[1] + raised[2]]
    wanted = [np.rint(shares[i] / total * np.float32(200)) for i in encoding.class_ids]
    wanted += [np.rint(raised[-1] / total * np.float32(200))] if border else []
    np.testing.assert_array_equal(encoding.encode(logits), np.nan_to_num(np.stack(wanted), nan=NODATA))


@pytest.mark.parametrize("blend", BLENDS)
def test_pieces_of_a_row_quantize_to_the_same_bits(blend: str) -> None:
    logits = np.random.default_rng(1).normal(size=(2, 7, 101)).astype(np.float32)
    encoding = ProbabilityEncoding(2, 0)
    whole = encoding.encode(logits)
    step = 1 + BLENDS.index(blend) * 3
    pieces = [encoding.encode(np.ascontiguousarray(logits[:, :, i : i + step])) for i in range(0, 101, step)]
    assert np.array_equal(np.concatenate(pieces, axis=2), whole)


def test_a_single_pixel_of_many_classes_quantizes_to_the_same_bits() -> None:
    # numpy sums a lone pixel's classes in pairs, but those of a row one after another: 175 became 176.
    column = "-1.50949 .678463 .734972 5.698928 3.129074 -3.961033 -3.366948 .644047 1.846753 -.979485"
    logits = np.zeros((12, 1, 2), np.float32)
    logits[:10, 0, 0] = np.asarray(column.split(), np.float32)
    logits[10:, 0, 0] = 1.512888, 0.289088
    encoding = ProbabilityEncoding(12, None)
    assert np.array_equal(encoding.encode(logits)[:, :, :1], encoding.encode(logits[:, :, :1].copy()))
