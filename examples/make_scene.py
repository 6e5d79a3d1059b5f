"""Make a synthetic neighborhood: scene.tif, buildings.gpkg and landcover.tif.

Without options it makes what lies in `examples/austin_synthetic`. Every pixel and every footprint comes from
the seed; nothing is taken from imagery. Many of them, to train on:

    python examples/make_scene.py --count 48 --seed 1000 --size 512 --out runs/generated

makes a folder for each seed from 1000 on, and `catalog.json` with all of them and their labels. Every fourth
has the default style, the others one drawn from their seed. With `--terraces 0.6 --alley 0 0 0.3 0.6`, many
houses stand wall to wall, or with alleys of one and two pixels, to learn where one ends and the next begins.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pystac
from synthetic.neighborhood import LANDCOVER_CLASSES, Style, generate, random_style
from synthetic.writing import ORIGIN, SceneFiles, write_scene

from geoseg.io.stac.write import describe_file, write_catalog

DEMO_SEED = 15
"""The seed of the committed scene."""


_APART = 500.0
"""Meters between the scenes of a collection, which then do not touch."""
_IN_A_ROW = 8


def labeled_item(files: SceneFiles, item_id: str, catalogs: Path) -> pystac.Item:
    """A scene with its exact truth as label assets; hrefs are relative to the catalog's folder."""
    item = describe_file(files.scene, item_id, catalogs)
    for key, path, extra in (
        ("buildings", files.buildings, {"geoseg:layer": "buildings"}),
        ("landcover", files.landcover, {}),
    ):
        href = path.resolve().relative_to(catalogs.resolve()).as_posix()
        item.add_asset(key, pystac.Asset(href, roles=["labels"], extra_fields=extra))
    return item


def make_many(
    out: Path,
    count: int,
    *,
    seed: int,
    size: tuple[int, int],
    resolution: float,
    epsg: int,
    terraces: float,
    alleys: Sequence[float],
) -> Path:
    """Write labeled scenes of different seeds and styles beside each other, and a catalog of them."""
    items = []
    for number in range(count):
        own = seed + number
        style = random_style(np.random.default_rng(own)) if number % 4 else Style()
        style = replace(style, terraces=terraces, alley=alleys[number % len(alleys)])
        place = generate(size, resolution, own, style)
        row, col = divmod(number, _IN_A_ROW)
        origin = (ORIGIN[0] + col * _APART, ORIGIN[1] - row * _APART)
        name = f"generated-{own}"
        files = write_scene(out / name, place, epsg=epsg, origin=origin)
        items.append(labeled_item(files, name, out))
        print(f"{files.scene}  {len(place.buildings)} buildings")
    about = {
        "title": f"{count} generated neighborhoods",
        "description": f"Made by examples/make_scene.py from the seeds {seed} to {seed + count - 1}: no such "
        "places exist, no image was used.",
    }
    write_catalog(out / "catalog.json", pystac.ItemCollection(items, extra_fields=about, clone_items=False))
    return out / "catalog.json"


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
        "--resolution", type=float, default=0.3, help="meters per pixel (default: %(default)s)"
    )
    parser.add_argument(
        "--style", type=int, metavar="SEED", help="draw season, light, roofs and sensor from this seed"
    )
    parser.add_argument(
        "--terraces",
        type=float,
        default=Style().terraces,
        help="share of the lots with houses wall to wall (default: %(default)s)",
    )
    parser.add_argument(
        "--alley",
        type=float,
        nargs="+",
        default=[Style().alley],
        metavar="METERS",
        help="between such houses; of several, each scene has another",
    )
    parser.add_argument("--epsg", type=int, default=26914, help="CRS (default: %(default)s)")
    parser.add_argument("--dtype", choices=["uint8", "uint16"], default="uint8")
    parser.add_argument(
        "--rotate", type=float, default=0.0, metavar="DEGREES", help="turn the grid counter-clockwise"
    )
    parser.add_argument("--nodata", type=float, help="cut holes of this value")
    parser.add_argument("--count", type=int, help="make so many, seeds counting up, and a catalog of them")
    options = parser.parse_args()
    if len(options.size) > 2:  # noqa: PLR2004 (height and width)
        parser.error("--size takes one side, or height and width")
    size = (options.size[0], options.size[-1])
    if options.count is not None:
        print(
            make_many(
                options.out,
                options.count,
                seed=options.seed,
                size=size,
                resolution=options.resolution,
                epsg=options.epsg,
                terraces=options.terraces,
                alleys=options.alley,
            )
        )
        return
    style = Style() if options.style is None else random_style(np.random.default_rng(options.style))
    style = replace(style, terraces=options.terraces, alley=options.alley[0])
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
