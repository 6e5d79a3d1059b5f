"""The command line: arguments to a call of flow, and its result to text.

A module per command (run, check, plan, catalog and the like are here), ``progress`` shows what a command
does, ``tables`` and ``report`` print what it found. Uses flow and what is below; nothing uses cli.

Exit codes: 0: all is well. 1: scenes failed though their input is sound (workers, memory, geoseg itself).
2: a mistake or bad input, in one line each. 130: interrupted.

Commands import what they need when they run, so that ``geoseg --help`` answers at once.
"""

from __future__ import annotations

import gc
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geoseg._version import __version__
from geoseg.cli.doctor import doctor
from geoseg.cli.evaluate import evaluate
from geoseg.cli.models import models
from geoseg.cli.options import (
    complete_models,
    examples,
    plain_options,
    progress_option,
    trust_option,
    workflow_command,
)
from geoseg.cli.train import train
from geoseg.cli.vectorize import vectorize
from geoseg.errors import GeosegError

if TYPE_CHECKING:
    from geoseg.config.stac.refs import Trust

__all__ = ["main"]


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Imports make much and no garbage; looking for it, a tenth of their time, is left out in this block."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="geoseg")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def cli(context: click.Context, *, debug: bool) -> None:
    """Maps from satellite and aerial scenes."""
    context.obj = {"debug": debug}


@cli.command(
    epilog=examples(
        "geoseg run workflows/austin_buildings.yaml",
        "geoseg run my.yaml --catalog scenes.json --output maps --workers 4",
        "geoseg run my.yaml --set vectorize.min_area='20 m2' --overwrite",
    )
)
@workflow_command
@plain_options("catalog", "model", "output")
@click.option(
    "--workers", type=click.IntRange(min=1), help="Workers (default: as many as cores and memory allow)."
)
@click.option("--scheduler", metavar="ADDRESS", help="Use a running dask scheduler, such as tcp://host:8786.")
@click.option("--overwrite", is_flag=True, help="Map scenes again that another configuration mapped here.")
@click.option("--profile", is_flag=True, help="Show where the time goes; write a trace, profile.json.")
@progress_option
@click.pass_context
def run(
    context: click.Context,
    workflow: Path,
    *,
    overrides: dict[str, str],
    workers: int | None,
    scheduler: str | None,
    overwrite: bool,
    profile: bool,
    progress: str,
) -> None:
    """Map every scene of a WORKFLOW; finished scenes are skipped."""
    if workers is not None:
        overrides["compute.workers"] = str(workers)
    if scheduler is not None:
        overrides["compute.scheduler"] = scheduler
    with _no_garbage():
        from geoseg.io.yaml.files import load_workflow

        # A mistake in the file is found before all that a run imports.
        compute = load_workflow(workflow, overrides).workflow.compute
        if compute.starts_processes:
            from geoseg.engine.execute import preloaded, prepare_workers

            prepare_workers(preloaded("openvino" if compute.backend == "auto" else compute.backend))
        from geoseg.cli.progress import RunWatcher, open_view
        from geoseg.flow.run.run import run as run_workflow

    with open_view(progress) as view:
        watcher = RunWatcher(view)
        summary = run_workflow(workflow, overrides, overwrite=overwrite, watch=watcher.watch, profile=profile)
        watcher.finish(summary)
    if context.obj["debug"] and summary.errors:
        raise summary.errors[0]
    sys.exit(summary.exit_code)


@cli.command(epilog=examples("geoseg demo", "geoseg demo landcover -o maps"))
@click.argument("name", type=click.Choice(["buildings", "landcover"]), default="buildings")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder (default: runs/<workflow>).")
@click.pass_context
def demo(context: click.Context, name: str, *, output: Path | None) -> None:
    """Map the scene that comes with geoseg, and score its map."""
    from geoseg.io.yaml.files import shared_workflow

    path = shared_workflow({"buildings": "austin_buildings", "landcover": "landcover"}[name])
    click.echo(f"geoseg run {path}")
    overrides = {} if output is None else {"output": str(output.absolute())}
    options = {"workers": None, "scheduler": None, "overwrite": False, "profile": False, "progress": "auto"}
    context.invoke(run, workflow=path, overrides=overrides, **options)


@cli.command(
    epilog=examples("geoseg init images", "geoseg init 'images/*.tif' --model landcover-mininet2 -o my.yaml")
)
@click.argument("images", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File to write (default: IMAGES.yaml here)."
)
@click.option(
    "--model",
    default="buildings-liteunet",
    show_default=True,
    metavar="NAME|PATH",
    shell_complete=complete_models,
    help="Model to map with.",
)
@trust_option
def init(images: Path, *, output: Path | None, model: str, trust: Trust) -> None:
    """Write a first workflow for a folder of IMAGES, with comments.

    It has what the images need: bands, stretch, nodata.
    """
    from geoseg.flow.run.first_workflow import write_first_workflow
    from geoseg.words import counted

    made = write_first_workflow(images, output, model=model, trust=trust)
    click.echo(f"{made.path}: {counted(made.scenes, 'scene')} for {model}\nnext: geoseg check {made.path}")


@cli.command(epilog=examples("geoseg check my.yaml", "geoseg check my.yaml --catalog scenes.json"))
@workflow_command
@plain_options("catalog", "model", "output")
@click.option("--overwrite", is_flag=True, help="Check what `geoseg run --overwrite` does.")
def check(workflow: Path, *, overrides: dict[str, str], overwrite: bool) -> None:
    """Find every mistake of a WORKFLOW and its scenes; run nothing."""
    from geoseg.cli.report import print_check
    from geoseg.flow.run.check import check_workflow

    code = print_check(check_workflow(workflow, overrides, overwrite=overwrite))
    if code == 0:
        typed = sys.argv[sys.argv.index("check") + 1 :]
        click.echo(f"next: geoseg run {shlex.join(typed)}")
    sys.exit(code)


@cli.command(epilog=examples("geoseg plan my.yaml", "geoseg plan my.yaml --json"))
@workflow_command
@plain_options("catalog", "model", "output")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(workflow: Path, *, overrides: dict[str, str], as_json: bool) -> None:
    """Show what running a WORKFLOW would take; run nothing."""
    from geoseg.cli.report import print_plan
    from geoseg.flow.run.prepare import prepare

    sys.exit(print_plan(prepare(workflow, overrides), as_json=as_json))


@cli.command(epilog=examples("geoseg catalog images -o scenes.json"))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Catalog to write, or to update."
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="Folder with a label file for each scene, called like it, or one file for all.",
)
@click.option(
    "--label-key", metavar="KEY", help="Key of the label assets (default: the layer's name, else buildings)."
)
@click.option("--prune", is_flag=True, help="Remove scenes whose files are gone.")
@trust_option
def catalog(
    folder: Path, *, output: Path, labels: Path | None, label_key: str | None, prune: bool, trust: Trust
) -> None:
    """Make a STAC catalog from a FOLDER of GeoTIFFs, or update it.

    A catalog that is there keeps what you added to it: labels, other assets and properties, ids.
    """
    from geoseg.io.stac.folder import make_catalog
    from geoseg.words import counted

    if label_key is not None and labels is None:
        raise click.UsageError("--label-key names what --labels adds; give --labels")
    made = make_catalog(folder, output, trust=trust, labels=labels, label_key=label_key, prune=prune)
    for note in made.notes:
        click.echo(note)
    for refusal in made.refusals:
        click.echo(f"refused  {refusal.reason}", err=True)
    click.echo(
        f"{output}: {counted(len(made.scenes), 'scene')}, {counted(len(made.refusals), 'file')} refused\n"
        f"next: geoseg init {shlex.quote(str(output))} writes a workflow for it"
    )
    sys.exit(2 if made.refusals else 0)


@cli.command(epilog=examples("geoseg schema > workflow.schema.json", "geoseg schema training"))
@click.argument("kind", type=click.Choice(["workflow", "training"]), default="workflow")
def schema(kind: str) -> None:
    """Print the JSON schema of a kind of file, for editors."""
    import json

    from geoseg.config.training.training_file import training_schema
    from geoseg.config.workflow import workflow_schema

    click.echo(json.dumps(training_schema() if kind == "training" else workflow_schema(), indent=2))


@cli.command(epilog=examples('eval "$(geoseg completion bash)"'))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a SHELL."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, f"click completes {shell}"
    click.echo(kind(cli, {}, "geoseg", "_GEOSEG_COMPLETE").source())


cli.add_command(doctor)
cli.add_command(train)
cli.add_command(evaluate)
cli.add_command(models)
cli.add_command(vectorize)


def main() -> None:
    """Entry point: one line and exit code 2 for what the user can mend."""
    debug = "--debug" in sys.argv
    try:
        cli.main(prog_name="geoseg", standalone_mode=False)
    except GeosegError as error:
        if debug:
            raise
        for line in str(error).splitlines():  # a workflow's mistakes, each with its place
            click.echo(f"geoseg: {line}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
            click.echo(f"Try '{error.ctx.command_path} --help' for help.", err=True)
        click.echo(f"geoseg: {error.format_message()}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("geoseg: interrupted; run again to go on from what is finished", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
