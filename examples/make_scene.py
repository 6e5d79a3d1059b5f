"""Make a synthetic neighbourhood: scene.tif, buildings.gpkg and landcover.tif.

Without options it makes what lies in `examples/austin_synthetic`. Every pixel and every footprint comes from
the seed; nothing is taken from imagery.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from geoseg.testing.neighbourhood import LANDCOVER_CLASSES, generate, random_style
from geoseg.testing.writing import write_scene

DEMO_SEED = 15
"""The seed of the committed scene."""


def main() -> None:
    """Read the options, make the scene, say what it holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "austin_synthetic", help="folder to write"
    )
    parser.add_argument(
        "--seed", type=int, default=DEMO_SEED, help="decides the place (default: %(default)s)"
    )
    parser.add_argument(
        "--size", type=int, nargs="+", default=[1024], help="pixels: side, or height and width"
    )
    parser.add_argument(
        "--resolution", type=float, default=0.3, help="metres per pixel (default: %(default)s)"
    )
    parser.add_argument(
        "--style", type=int, metavar="SEED", help="draw season, light, roofs and sensor from this seed"
    )
    parser.add_argument("--epsg", type=int, default=26914, help="CRS (default: %(default)s)")
    parser.add_argument("--dtype", choices=["uint8", "uint16"], default="uint8")
    parser.add_argument(
        "--rotate", type=float, default=0.0, metavar="DEGREES", help="turn the grid counter-clockwise"
    )
    parser.add_argument("--nodata", type=float, help="cut holes of this value")
    options = parser.parse_args()
    if len(options.size) > 2:  # noqa: PLR2004 (height and width)
        parser.error("--size takes one side, or height and width")
    style = None if options.style is None else random_style(np.random.default_rng(options.style))
    size = (options.size[0], options.size[-1])
    place = generate(size, options.resolution, options.seed, style)
    files = write_scene(
        options.out,
        place,
        epsg=options.epsg,
        dtype=options.dtype,
        rotate=options.rotate,
        nodata=options.nodata,
    )
    for path in (files.scene, files.buildings, files.landcover):
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")
    counts = np.bincount(place.landcover.ravel(), minlength=len(LANDCOVER_CLASSES)) / place.landcover.size
    print(
        f"{len(place.buildings)} buildings;",
        ", ".join(f"{c.name} {n:.1%}" for c, n in zip(LANDCOVER_CLASSES, counts, strict=True)),
    )


if __name__ == "__main__":
    main()
