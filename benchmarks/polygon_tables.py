"""The tables of the polygon benchmark: quality of what each method made of each scene."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from polygon_methods import OURS, ours
from polygon_scenes import Buildings, make_rows
from rasterio.features import rasterize
from scipy import ndimage
from synthetic.landcover_fields import FINER, LandCover
from synthetic.rooftops import RESOLUTION

from geoseg.arrays import Bool, Objects, UInt8
from geoseg.config.vectorize import Split
from geoseg.grid.encoding import ProbabilityEncoding
from geoseg.score.objects.matching import match_objects
from geoseg.score.objects.shapes import ShapeMeasures, shape_measures

__all__ = ["Found", "Table", "ahead", "cover_table", "markdown", "place_tables", "split_table", "town_table"]

STEP = 1 / 3
"""Distance of the points on outlines that are looked at, px."""
LOOSEST = "smallest rectangle"
"""A method that draws so loosely that it does not decide which footprints all methods are measured on."""
GAPS = (0, 1, 2, 3, 5)
LEAST = 20
"""Smallest object of the splitting scenes, px."""

Table = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a method made of a scene."""

    polygons: Objects
    classes: UInt8
    seconds: float


def largest_shared(polygons: Objects, truth: Objects) -> Objects:
    """For each true polygon the one that shares most area with it, or None."""
    sound = shapely.make_valid(polygons)
    true, other = shapely.STRtree(sound).query(truth, predicate="intersects")
    shared = shapely.area(shapely.intersection(truth[true], sound[other]))
    order = np.argsort(shared, kind="stable")
    out = np.full(len(truth), None, np.object_)
    out[true[order]] = polygons[other[order]]
    return out


def overlap(polygons: Objects) -> float:
    """Area that polygons share, as a share of theirs."""
    sound = shapely.make_valid(polygons)
    one, other = shapely.STRtree(sound).query(sound, predicate="intersects")
    once = one < other
    shared = shapely.area(shapely.intersection(sound[one[once]], sound[other[once]])).sum()
    return float(shared / shapely.area(sound).sum())


def figures(measures: ShapeMeasures, rectilinear: Bool) -> dict[str, float]:
    """Quality of pairs, as the tables have it."""
    summary = measures.summary()
    return {
        "IoU": summary.iou,
        "PoLiS m": summary.polis * RESOLUTION,
        "C-IoU": summary.c_iou,
        "vertices": summary.vertices,
        "N ratio": summary.n_ratio,
        "right": measures.chosen(rectilinear).summary().right_angles,
        "MTA °": summary.tangent_error,
        "area %": 100 * summary.area_bias,
    }


def town_table(scene: Buildings, found: dict[str, Found]) -> Table:
    """One noise of the generated town."""
    table = []
    for method, result in found.items():
        pairs = shape_measures(largest_shared(result.polygons, scene.truth), scene.truth, step=STEP)
        table.append(
            {
                "method": method,
                **figures(pairs, scene.rectilinear),
                "missing": int((~pairs.present).sum()),
                "more": len(result.polygons) - int(pairs.present.sum()),
                "invalid": int((~shapely.is_valid(result.polygons)).sum()),
                "overlap %": 100 * overlap(result.polygons),
                "s / 10k": result.seconds / len(scene.truth) * 1e4,
            }
        )
    return table


def place_tables(places: list[Buildings], found: dict[str, dict[str, Found]]) -> tuple[Table, Table, int]:
    """Real footprints: every method on those that all methods but the loosest found.

    Returns:
        All places together by method; geoseg and the best other tool by place; footprints that count.
    """
    together: dict[str, list[ShapeMeasures]] = {method: [] for method in found}
    matched: dict[str, int] = dict.fromkeys(found, 0)
    plain, by_place = [], []
    for place in places:
        drawn = {method: results[place.name].polygons for method, results in found.items()}
        partner = {m: match_objects(some, place.truth).reference_partner for m, some in drawn.items()}
        kept = np.all([which >= 0 for method, which in partner.items() if method != LOOSEST], axis=0)
        plain.append(place.rectilinear[kept])
        here = {}
        for method, which in partner.items():
            polygons = np.append(drawn[method], None)[which[kept]]  # -1, the last one: none
            pairs = shape_measures(polygons, place.truth[kept], step=STEP)
            together[method].append(pairs)
            here[method] = figures(pairs, plain[-1]) | {"matched": int((which >= 0).sum())}
            matched[method] += here[method]["matched"]
        line = {"place": place.name, "footprints": len(place.truth), **best(here)}
        by_place.append(line | {"ahead of geoseg": ahead([{"method": m, **row} for m, row in here.items()])})
    polygons = {m: [results[p.name].polygons for p in places] for m, results in found.items()}
    true_count = sum(len(place.truth) for place in places)
    table = [
        {
            "method": method,
            **figures(ShapeMeasures.joined(pairs), np.concatenate(plain)),
            "matched": matched[method],
            "F1": 2 * matched[method] / (sum(map(len, polygons[method])) + true_count),
            "invalid": sum(int((~shapely.is_valid(some)).sum()) for some in polygons[method]),
            "overlap %": 100 * float(np.mean([overlap(some) for some in polygons[method]])),
            "s / 10k": sum(found[method][p.name].seconds for p in places) / true_count * 1e4,
        }
        for method, pairs in together.items()
    ]
    return table, by_place, sum(map(len, plain))


def best(here: dict[str, dict[str, float]]) -> dict[str, str]:
    """Some figures of geoseg and of the best other tool."""
    others = [row for method, row in here.items() if not method.startswith("geoseg")]
    said = {}
    for name, better, digits in (
        ("matched", max, 0),
        ("IoU", max, 3),
        ("PoLiS m", min, 3),
        ("C-IoU", max, 3),
        ("MTA °", min, 1),
    ):
        said[name] = f"{here[OURS][name]:.{digits}f} / {better(row[name] for row in others):.{digits}f}"
    return said


def ahead(table: Table) -> str:
    """Which tools are ahead of geoseg's objects, by measure."""
    mine = next(row for row in table if row["method"] == OURS)
    off: dict[str, Callable[[dict[str, Any]], float]] = {
        "IoU": lambda row: -row["IoU"],
        "PoLiS": lambda row: row["PoLiS m"],
        "C-IoU": lambda row: -row["C-IoU"],
        "N ratio": lambda row: abs(row["N ratio"] - 1),
        "right": lambda row: -row["right"],
        "MTA": lambda row: row["MTA °"],
        "area": lambda row: abs(row["area %"]),
        "CPU": lambda row: row.get("s / 10k", np.inf),
    }
    others = [row for row in table if not row["method"].startswith("geoseg")]
    found = {name: [row["method"] for row in others if of(row) < of(mine)] for name, of in off.items()}
    return (
        "; ".join(f"{name}: {', '.join(methods)}" for name, methods in found.items() if methods) or "nobody"
    )


def cover_table(scene: LandCover, found: dict[str, Found]) -> Table:
    """Land cover."""
    rows, columns = scene.classes.shape
    plain = scene.classes.repeat(FINER, 0).repeat(FINER, 1)
    stairs = float((plain != scene.truth).mean())
    stairs_vertices = corners(found["regions (stairs)"].polygons)
    table = []
    for method, result in found.items():
        drawn = rasterize(
            list(zip(result.polygons, result.classes.tolist(), strict=True)),
            scene.truth.shape,
            fill=255,
            transform=Affine.scale(1 / FINER),
            dtype=np.uint8,
        )
        wrong = float((drawn != scene.truth).mean())
        sound = shapely.make_valid(result.polygons)
        union, total = shapely.area(shapely.union_all(sound)), shapely.area(sound).sum()
        table.append(
            {
                "method": method,
                "wrong %": 100 * wrong,
                "wrong / stairs": wrong / stairs,
                "vertices": corners(result.polygons),
                "vertices / stairs": corners(result.polygons) / stairs_vertices,
                "valid coverage": bool(shapely.coverage_is_valid(result.polygons)),
                "invalid": int((~shapely.is_valid(result.polygons)).sum()),
                "gaps px²": rows * columns - union,
                "overlaps px²": total - union,
                "s / Mpx": result.seconds / (rows * columns) * 1e6,
            }
        )
    return table


def corners(polygons: Objects) -> int:
    """Vertices, each ring's first one counted once."""
    rings = shapely.get_num_interior_rings(polygons) + 1
    return int((shapely.get_num_coordinates(polygons) - rings).sum())


def split_table(seeds: Iterable[int]) -> Table:
    """F1 of objects by the gap between neighbors."""
    changes: dict[str, dict[str, Any]] = {
        "geoseg objects": {"min_area": f"{LEAST} px"},
        "geoseg objects, necks of 1 px": _necks(1),
        "geoseg objects, necks of 4 px": _necks(4),
        "geoseg objects unsplit": {"min_area": f"{LEAST} px", "split": Split(method="none")},
    }
    table: Table = [{"method": name} for name in (*changes, "connected components")]
    known = "geoseg objects, borders known"
    table.insert(1, {"method": known})
    for gap in GAPS:
        rows = [make_rows(gap, seed) for seed in seeds]
        for line in table:
            scores = []
            for row in rows:
                if line["method"] == known or line["method"] in changes:
                    border = row.border if line["method"] == known else None
                    polygons = ours(row.stored, border, **changes.get(line["method"], changes[OURS]))
                    marked = zip(polygons, range(1, len(polygons) + 1), strict=True)
                    labels = rasterize(list(marked), row.labels.shape, dtype=np.int32)
                else:
                    labels = ndimage.label(ProbabilityEncoding(2, 0).classify(row.stored[None]))[0]
                scores.append(f1(labels, row.labels))
            line[f"{gap} px"] = float(np.mean(scores))
    return table


def _necks(depth: int) -> dict[str, Any]:
    return {
        "min_area": f"{LEAST} px",
        "split": Split.model_validate({"method": "necks", "neck": f"{depth} px"}),
    }


def f1(found: NDArray[np.int32], true: NDArray[np.int32]) -> float:
    """F1 of labels at an IoU of one half, without objects under 20 px."""
    size = int(true.max()) + 1
    shared = np.bincount((found * size + true).ravel(), minlength=(int(found.max()) + 1) * size)
    shared = shared.reshape(-1, size)
    area, true_area = shared.sum(1), shared.sum(0)
    hits = 3 * shared > area[:, None] + true_area  # IoU above one half
    count = (area[1:] > LEAST).sum() + (true_area[1:] > LEAST).sum()
    return float(2 * hits[1:, 1:].sum() / count)


def markdown(table: Table) -> str:
    """A table as Markdown."""
    digits = {"vertices": 1, "MTA °": 1, "area %": 2, "N ratio": 2, "s / 10k": 1, "s / Mpx": 2, "gaps px²": 1}
    digits |= {
        "overlaps px²": 1,
        "wrong / stairs": 2,
        "vertices / stairs": 2,
        "wrong %": 2,
        "overlap %": 3,
        "IoU": 4,
    }

    def cell(name: str, value: object) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return f"{value:.{digits.get(name, 3)}f}" if isinstance(value, float) else str(value)

    names = list(table[0])
    lines = [names, ["---", *["---:"] * (len(names) - 1)]]
    lines += [[cell(name, row[name]) for name in names] for row in table]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
