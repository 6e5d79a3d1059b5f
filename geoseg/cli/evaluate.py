"""``geoseg evaluate``: maps, or models, against a reference."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from geoseg.cli.options import complete_models, examples, plain_options, workflow_command

__all__ = ["evaluate"]


@click.command(
    epilog=examples(
        "geoseg evaluate my.yaml",
        "geoseg evaluate my.yaml --reference truth.gpkg --area labeled.gpkg",
        "geoseg evaluate my.yaml --model buildings-liteunet --model ./mine",
    )
)
@workflow_command
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
    boundary: str,
    worst: int,
    as_json: bool,
) -> None:
    """Score maps of a WORKFLOW, or compare models on its scenes.

    Without --model, the maps that `geoseg run` made. With it, the workflow's labeled scenes are mapped with
    each model, as `geoseg run` does, and compared with the first one; finished scenes are not mapped again.
    """
    from geoseg.config.stac.refs import LabelRef
    from geoseg.score.pixels.boundary import BoundaryWidth

    if asset is not None and reference is not None:
        raise click.UsageError("--asset and --reference both say what to score against; give one of them")
    label = None
    if reference is not None:
        label = LabelRef(
            href=str(reference.absolute()),
            layer=layer,
            attribute=attribute,
            classes=tuple(map(_value, values)),
            area_href=None if area is None else str(area.absolute()),
            area_layer=area_layer,
            area_window=window,
        )
    elif layer or attribute or values or area or area_layer or window:
        raise click.UsageError("--layer, --attribute, --value, --area and --window describe a --reference")
    against: dict[str, Any] = {
        "asset": asset,
        "reference": label,
        "width": BoundaryWidth.parse(boundary),
        "worst": worst,
    }
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
