"""``geoseg vectorize``: the polygon stage alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geoseg.cli.options import examples, set_option, trust_option

if TYPE_CHECKING:
    from geoseg.config.stac.refs import Trust
    from geoseg.io.raster.score_raster import AnyKind

__all__ = ["vectorize"]


def _names(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[int, str]:
    found: dict[int, str] = {}
    for text in values:
        number, _, name = (part.strip() for part in text.partition("="))
        if not number.removeprefix("-").isdecimal() or not name:
            raise click.UsageError(f"--class {text}: needs ID=NAME, such as 1=building")
        if int(number) in found:
            raise click.UsageError(
                f"--class {text}: class {number} has the name {found[int(number)]!r} already"
            )
        found[int(number)] = name
    return found


@click.command(
    epilog=examples(
        "geoseg vectorize probability.tif -o buildings.gpkg",
        "geoseg vectorize classes.tif -o cover.gpkg --class 1=forest --set vectorize.min_area='500 m2'",
    )
)
@click.argument("raster", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="File to write: .gpkg, .parquet, .fgb or .geojson (in longitude and latitude).",
)
@set_option("Set a key of a workflow's vectorize section, such as vectorize.mode=exact; may be repeated.")
@click.option(
    "--as",
    "kind",
    type=click.Choice(["auto", "probability", "classes"]),
    default="auto",
    show_default=True,
    help="What the values are. auto: class ids where they are whole numbers without a scale. probability: of "
    "bytes without a scale, value/255.",
)
@click.option(
    "--class",
    "names",
    multiple=True,
    metavar="ID=NAME",
    callback=_names,
    help="Name of a class, such as 1=building; may be repeated.",
)
@trust_option
@click.option(
    "--mask",
    type=click.Path(path_type=Path),
    help="Raster of the same grid; where its first band is 0, there is no data.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def vectorize(
    raster: Path,
    *,
    output: Path,
    overrides: dict[str, str],
    kind: AnyKind,
    names: dict[int, str],
    trust: Trust,
    mask: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make polygons of a RASTER, geoseg's or any other tool's.

    It holds probabilities or class ids. One band of probabilities is a class against its background; of
    several, the largest decides; a run's own may hold its class and the border between objects. Floats are
    probabilities as they are, whole numbers with their scale.
    """
    from geoseg.cli.report import scene_line
    from geoseg.flow.vectorize import vectorize as make_polygons
    from geoseg.words import counted

    made = make_polygons(
        raster, output, overrides, kind=kind, names=names, trust=trust, mask=mask, overwrite=overwrite
    )
    for warning in made.warnings:
        click.echo(scene_line("warning", raster.stem, warning), err=True)
    click.echo(
        json.dumps(made.to_dict(), indent=2) if as_json else f"{output}: {counted(made.polygons, 'polygon')}"
    )
