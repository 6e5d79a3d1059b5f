"""``geoseg evaluate``: maps, or models, against a reference."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from geoseg.cli.options import complete_models, examples, plain_options, workflow_command

if TYPE_CHECKING:
    from geoseg.config.stac.refs import LabelRef

__all__ = ["evaluate"]


@click.command(
    epilog=examples(
        "geoseg evaluate my.yaml",
        "geoseg evaluate my.yaml --reference truth.gpkg --area labeled.gpkg",
        "geoseg evaluate my.yaml --model buildings-liteunet --model ./mine",
        "geoseg evaluate other.gpkg --reference truth.gpkg --area labeled.gpkg -o scores",
    )
)
@partial(workflow_command, metavar="WORKFLOW|POLYGONS")
@plain_options("catalog", "output")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="MODEL",
    shell_complete=complete_models,
    help="Map the labeled scenes with this model (a name or a path) and score it; may be repeated.",
)
@click.option("--asset", help="Label asset of the catalog (default: the workflow's evaluate.asset).")
@click.option("--reference", type=click.Path(path_type=Path), help="Reference polygons or raster instead.")
@click.option("--layer", help="Layer of the reference.")
@click.option("--attribute", help="Attribute with the class id (default: every polygon is class 1).")
@click.option(
    "--value",
    "values",
    multiple=True,
    metavar="VALUE=ID",
    help="A raster reference's value and the class id that it stands for, such as 255=1.",
)
@click.option("--area", type=click.Path(path_type=Path), help="File with the labeled area.")
@click.option("--area-layer", help="Layer of the labeled area.")
@click.option(
    "--window", nargs=4, type=int, metavar="ROW COL HEIGHT WIDTH", help="Labeled area in the scene's pixels."
)
@click.option(
    "--resolution",
    type=click.FloatRange(min=0, min_open=True),
    metavar="METERS",
    help="Pixels that POLYGONS are scored in (default: 0.3).",
)
@click.option("--polygons-layer", metavar="LAYER", help="Layer of POLYGONS (default: the only one).")
@click.option(
    "--boundary",
    default="5 px",
    show_default=True,
    metavar="WIDTH",
    help="How far from a contour boundary IoU looks: such as '5 px', '1.5 m', or '2 %' of the diagonal.",
)
@click.option(
    "--worst",
    type=click.IntRange(min=0),
    default=6,
    show_default=True,
    metavar="N",
    help="Draw the N windows with the most wrong pixels in worst.png; 0 draws none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    workflow: Path,
    *,
    overrides: dict[str, str],
    models: tuple[str, ...],
    asset: str | None,
    reference: Path | None,
    layer: str | None,
    attribute: str | None,
    values: tuple[str, ...],
    area: Path | None,
    area_layer: str | None,
    window: tuple[int, int, int, int] | None,
    resolution: float | None,
    polygons_layer: str | None,
    boundary: str,
    worst: int,
    as_json: bool,
) -> None:
    """Score the maps of a WORKFLOW, its models, or POLYGONS.

    Without --model, the maps that `geoseg run` made. With it, the workflow's labeled scenes are mapped with
    each model, as `geoseg run` does, and compared with the first one; finished scenes are not mapped again.

    POLYGONS is a vector file of any tool, scored against a --reference; score.json and errors.gpkg go to
    --output (default: runs/NAME).
    """
    from geoseg.score.pixels.boundary import BoundaryWidth

    if asset is not None and reference is not None:
        raise click.UsageError("--asset and --reference both say what to score against; give one of them")
    label = _reference(reference, layer, attribute, values, (area, area_layer, window))
    width = BoundaryWidth.parse(boundary)
    if _holds_polygons(workflow):
        how = {"layer": polygons_layer, "resolution": resolution or 0.3, "width": width}
        draws = click.get_current_context().get_parameter_source("worst") is not ParameterSource.DEFAULT
        wrong = bool(models or window or draws or overrides.keys() - {"output"})
        _score_polygons(workflow, None if wrong else label, overrides.get("output"), how, as_json=as_json)
        return
    if resolution is not None or polygons_layer is not None:
        raise click.UsageError("--resolution and --polygons-layer are for POLYGONS, not for a WORKFLOW")
    against: dict[str, Any] = {"asset": asset, "reference": label, "width": width, "worst": worst}
    if models:
        sys.exit(_compare(workflow, models, overrides, against, as_json=as_json))
    from geoseg.cli.tables import print_report
    from geoseg.flow.evaluate.evaluate import evaluate_workflow
    from geoseg.io.yaml.files import load_workflow

    report = evaluate_workflow(workflow, overrides, **against)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        print_report(report)
        click.echo(_written(load_workflow(workflow, overrides).output, drawn=worst > 0))


def _reference(
    reference: Path | None,
    layer: str | None,
    attribute: str | None,
    values: tuple[str, ...],
    area: tuple[Path | None, str | None, tuple[int, int, int, int] | None],
) -> LabelRef | None:
    """The reference that the options describe, with its area (file, layer, window); None: there is none."""
    from geoseg.config.stac.refs import LabelRef

    file, area_layer, window = area
    if reference is None:
        if layer or attribute or values or file or area_layer or window:
            raise click.UsageError(
                "--layer, --attribute, --value, --area and --window describe a --reference"
            )
        return None
    return LabelRef(
        href=str(reference.absolute()),
        layer=layer,
        attribute=attribute,
        classes=tuple(map(_value, values)),
        area_href=None if file is None else str(file.absolute()),
        area_layer=area_layer,
        area_window=window,
    )


def _holds_polygons(path: Path) -> bool:
    """Whether a file is a vector layer and no workflow."""
    from geoseg.io.labels.vector_file import is_vector

    if path.suffix.lower() in (".yaml", ".yml") or not path.is_file():
        return False
    with path.open("rb") as file:
        return is_vector(file.read(64))


def _score_polygons(
    polygons: Path, reference: LabelRef | None, output: str | None, how: dict[str, Any], *, as_json: bool
) -> None:
    """Score polygons; prints the report, where it is, and on which pixels it holds."""
    if reference is None:
        raise click.UsageError(
            f"{polygons} holds polygons: give a --reference, and --layer, --attribute, --area, --resolution, "
            "--polygons-layer or --output; the other options are for a WORKFLOW"
        )
    from geoseg.cli.tables import print_report
    from geoseg.flow.evaluate.evaluate import SCORE_NAME
    from geoseg.flow.evaluate.objects import ERRORS_NAME
    from geoseg.flow.evaluate.polygons import evaluate_polygons
    from geoseg.io.yaml.strict_yaml import parse_yaml

    folder = Path("runs", polygons.stem) if output is None else Path(str(parse_yaml(output).value))
    scored = evaluate_polygons(polygons, reference, folder, **how)
    if as_json:
        click.echo(json.dumps(scored.report.to_dict(), indent=2))
        return
    print_report(scored.report)
    grid = scored.grid
    click.echo(f"on {grid.width:,}×{grid.height:,} px of {how['resolution']:g} m in {grid.crs[:60]}")
    for note in scored.notes:
        click.echo(note)
    click.echo(f"\nwritten to {folder}: {SCORE_NAME}, {ERRORS_NAME} (each object, for QGIS)")


def _written(folder: Path, *, drawn: bool) -> str:
    """What the score left in a run's folder."""
    from geoseg.engine.finished import ITEM_NAME
    from geoseg.flow.evaluate.evaluate import SCORE_NAME
    from geoseg.flow.evaluate.objects import ERRORS_NAME
    from geoseg.flow.evaluate.worst import WORST_NAME

    names = [SCORE_NAME, *([WORST_NAME] if drawn and (folder / WORST_NAME).is_file() else [])]
    if any(item.with_name(ERRORS_NAME).is_file() for item in folder.glob(f"*/{ITEM_NAME}")):
        names.append(f"SCENE/{ERRORS_NAME} (each object, for QGIS)")
    return f"\nwritten to {folder}: {', '.join(names)}"


def _compare(
    workflow: Path,
    models: tuple[str, ...],
    overrides: dict[str, str],
    against: dict[str, Any],
    *,
    as_json: bool,
) -> int:
    """Compare models; says on stderr which scene is mapped, so that stdout holds the result alone."""
    from geoseg.cli.report import scene_line
    from geoseg.cli.tables import print_comparison
    from geoseg.flow.compare.compare import evaluate_models
    from geoseg.flow.run.events import Event, RunStarted, SceneOutcome, Watch

    def watch(model: str) -> Watch:
        def follow(event: Event) -> None:
            if isinstance(event, RunStarted):
                click.echo(f"{model}: {event.pixels / 1e6:.1f} Mpx on {event.where}", err=True)
            elif isinstance(event, SceneOutcome):
                click.echo(scene_line(event.status, event.scene, event.reason), err=True)

        return follow

    found = evaluate_models(workflow, models, overrides, **against, watch=watch)
    if as_json:
        click.echo(json.dumps(found.comparison.to_dict(), indent=2))
    else:
        print_comparison(found.comparison)
        click.echo(f"\nmaps and scores: {found.folder}")
    return found.exit_code


def _value(text: str) -> tuple[float, int]:
    value, _, class_id = text.partition("=")
    try:
        return float(value), int(class_id)
    except ValueError:
        raise click.UsageError(f"--value {text}: needs VALUE=ID, such as 255=1") from None
