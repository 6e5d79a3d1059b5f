"""``geoseg train``: train a network on labeled scenes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from geoseg.cli.options import examples, plain_options, progress_option, workflow_command
from geoseg.words import counted

if TYPE_CHECKING:
    from geoseg.flow.train.train import CheckedTraining

__all__ = ["train"]


@click.command(epilog=examples("geoseg train my_training.yaml --check", "geoseg train my_training.yaml"))
@workflow_command
@plain_options("output")
@click.option("--check", is_flag=True, help="Find every mistake of the file and its scenes; train nothing.")
@progress_option
def train(workflow: Path, *, overrides: dict[str, str], check: bool, progress: str) -> None:
    """Train a network on labeled scenes, or resume its training.

    WORKFLOW is a training file (`geoseg schema training`). The output folder gets a bundle that `geoseg run`
    takes as its model, log.csv, log.jsonl, TensorBoard's files, curves.png and predictions.png.
    """
    from geoseg.io.yaml.files import load_training

    load_training(workflow, overrides)  # a mistake in the file is found before torch is imported
    from geoseg.cli.progress import TrainWatcher, open_view
    from geoseg.flow.train.train import check_training
    from geoseg.flow.train.train import train as run_training

    if check:
        _print_check(check_training(workflow, overrides))
        return
    with open_view(progress) as view:
        watcher = TrainWatcher(view)
        summary = run_training(workflow, overrides, watcher.watch)
        watcher.finish(summary)


def _print_check(checked: CheckedTraining) -> None:
    """One line per scene, then what would be trained."""
    from geoseg.cli.report import scene_line

    prepared = checked.prepared
    training, views = prepared.training, prepared.views
    total = sum(scene.weight for scene, index in checked.scenes if index.pixels)
    for scene, index in checked.scenes:
        own = scene.scene.geobox
        share = f"{scene.weight / total:.1%} of the chips" if index.pixels else "held out as a whole"
        message = (
            f"{own.width}×{own.height} px, {counted(scene.bands, 'band')} {scene.value_dtype}, "
            f"{scene.scene.resolution.mean:.3g} m, labeled within {scene.shape[1]}×{scene.shape[0]} px of "
            f"{scene.resolution:.3g} m, {share}"
        )
        message += f", {counted(scene.repaired, 'polygon')} repaired" if scene.repaired else ""
        click.echo(scene_line("ok", scene.name, message))
    for note in checked.notes:
        click.echo(f"note: {note}")
    click.echo(
        f"{prepared.loaded.source}: {counted(len(prepared.scenes), 'scene')} for "
        f"{training.model.architecture} on {prepared.runtime}, scored in windows of {views.window} px; "
        f"the bundle would be {prepared.bundle}"
    )
