"""Draw a finished map: the scene, its classes and its polygons side by side.

python examples/draw_map.py SCENE.tif RUN/SCENE_ID -o map.jpg [--window ROW COL HEIGHT WIDTH]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import geopandas as gpd
import matplotlib as mpl
import numpy as np
import rasterio
from affine import Affine
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from rasterio.windows import Window
from shapely import affinity


def main() -> None:
    """Read the outputs with other people's tools and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scene", type=Path)
    parser.add_argument("map", type=Path, help="folder of one scene's outputs")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--window", type=int, nargs=4, metavar=("ROW", "COL", "HEIGHT", "WIDTH"))
    arguments = parser.parse_args()
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    with rasterio.open(arguments.map / "classes.tif") as raster:
        row, col, height, width = arguments.window or (0, 0, raster.height, raster.width)
        window = Window(col, row, width, height)
        classes = raster.read(1, window=window)
        palette = np.array([raster.colormap(1)[value] for value in range(256)], np.uint8)
        transform, bounds = raster.window_transform(window), raster.window_bounds(window)
        nodata = raster.nodata
    with rasterio.open(arguments.scene) as raster:
        image = raster.read([1, 2, 3], window=raster.window(*bounds)).transpose(1, 2, 0)
    palette[int(nodata), 3] = 0
    (layer,) = (path for path in arguments.map.glob("*.gpkg") if path.stem != "errors")
    polygons = gpd.read_file(layer, layer=layer.stem, bbox=bounds)

    figure, axes = plt.subplots(1, 3, figsize=(15, 5 * height / width + 0.3), layout="constrained")
    extent = (0, width, height, 0)
    for axis, title in zip(axes, ("scene", "classes", f"{len(polygons)} polygons"), strict=True):
        axis.imshow(image, extent=extent)
        axis.set(title=title, xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    axes[1].imshow(palette[classes], extent=extent, interpolation="nearest")
    axes[2].imshow(np.full((1, 1, 3), 255, np.uint8), extent=extent, alpha=0.35)
    inverse: Affine = ~transform
    to_pixels = [inverse.a, inverse.b, inverse.d, inverse.e, inverse.c, inverse.f]
    for polygon, value in zip(polygons.geometry, polygons["class_id"], strict=True):
        drawn = affinity.affine_transform(polygon, to_pixels)
        rings = [drawn.exterior, *drawn.interiors]
        path = Outline.make_compound_path(*(Outline(np.asarray(r.coords), closed=True) for r in rings))
        color = tuple(palette[value][:3] / 255)
        axes[2].add_patch(PathPatch(path, facecolor=(*color, 0.45), edgecolor=color, linewidth=0.9))
    figure.savefig(arguments.output, dpi=110)
    print(f"{arguments.output}: {len(polygons)} polygons")


if __name__ == "__main__":
    main()
