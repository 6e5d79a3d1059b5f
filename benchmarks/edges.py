"""How many mirrored pixels past a scene's edges are enough: python benchmarks/edges.py IMAGE [--model …].

Squares are cut out of an image at the model's resolution, and mapped with so many mirrored pixels round them;
their classes are compared with those that the network gives where it sees the ground beyond. What came out:
docs/decisions/51.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import rasterio
from measure import markdown
from rasterio.enums import Resampling

from geoseg.arrays import Int64, UInt8
from geoseg.models.bundle import load_bundle
from geoseg.models.predictor import Predictor
from geoseg.models.runtime import Runtime

EDGES = (0, 16, 32, 48, 64, 96)
BANDS = ((0, 2), (2, 8), (8, 32), (32, 64), (64, 128))
"""Distances from the edge, in pixels."""


def classes(predictor: Predictor, pixels: UInt8, inside: int) -> Int64:
    """Classes of an image without so many pixels round it."""
    valid = np.ones((1, *pixels.shape[1:]), np.bool_)
    found = predictor.classes(np.ascontiguousarray(pixels[None]), valid)[0]
    return found[inside : found.shape[0] - inside, inside : found.shape[1] - inside]


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("image", type=Path, help="8 bits, with the model's bands first")
    parser.add_argument("--model", default="buildings-liteunet")
    parser.add_argument(
        "--shape", nargs=2, type=int, help="rows and columns to read it with (default: as stored)"
    )
    parser.add_argument("--squares", type=int, default=10)
    parser.add_argument("--side", type=int, default=512, help="of a square, a multiple of 32")
    parser.add_argument("--beyond", type=int, default=256, help="pixels of ground round it, a multiple of 32")
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.model)
    predictor = Predictor(bundle, Runtime.of_model(bundle.spec, "cpu", "fp32", backend="openvino"))
    bands = list(range(1, len(bundle.spec.bands) + 1))
    with rasterio.open(arguments.image) as source:
        shape = tuple(arguments.shape or source.shape)
        image = source.read(bands, out_shape=(len(bands), *shape), resampling=Resampling.average)
    side, beyond = arguments.side, arguments.beyond
    if min(shape) < side + 2 * beyond:
        parser.error(f"{shape[1]}×{shape[0]} px are too few for --side {side} and --beyond {beyond}")
    across = np.minimum(np.arange(side), np.arange(side)[::-1])
    distance = np.minimum(across[:, None], across[None, :])
    same = np.zeros((len(EDGES), len(BANDS)), np.int64)
    counts = np.array([((distance >= low) & (distance < high)).sum() for low, high in BANDS])
    rng = np.random.default_rng(1)
    for _ in range(arguments.squares):
        row, col = (int(rng.integers(beyond, length - side - beyond + 1)) for length in shape)
        with_ground = image[:, row - beyond : row + side + beyond, col - beyond : col + side + beyond]
        truth = classes(predictor, with_ground, beyond)
        alone = image[:, row : row + side, col : col + side]
        for place, edge in enumerate(EDGES):
            around = ((0, 0), (edge, edge), (edge, edge))
            equal = classes(predictor, np.pad(alone, around, mode="reflect"), edge) == truth
            for band, (low, high) in enumerate(BANDS):
                same[place, band] += equal[(distance >= low) & (distance < high)].sum()
    shares = same / (counts * arguments.squares)
    rows = [
        {"edge px": str(edge)}
        | {
            f"{low} to {high} px": f"{share:.4f}"
            for (low, high), share in zip(BANDS, shares[place], strict=True)
        }
        for place, edge in enumerate(EDGES)
    ]
    print(f"{arguments.model} on {arguments.image.name}: share of equal classes by distance from the edge\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
