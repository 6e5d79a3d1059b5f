"""``geoseg models``: list, show, verify, export, import, calibrate models, and give them graphs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from geoseg.cli.options import complete_models, examples, set_option

__all__ = ["models"]

_NAME_OR_PATH = click.argument("model", metavar="NAME|PATH", shell_complete=complete_models)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_BUNDLE_TO_MAKE = click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False), help="Bundle to make."
)
_OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
_FORMATS = {".onnx": "onnx", ".pt2": "torch-export"}


@click.group()
def models() -> None:
    """List, show, check, export and import models."""


@models.command("list", epilog=examples("geoseg models list", "geoseg models list --papers"))
@click.option(
    "--bands", type=click.IntRange(1, 1024), default=3, show_default=True, help="Bands to count for."
)
@click.option(
    "--classes", type=click.IntRange(1, 1024), default=2, show_default=True, help="Classes likewise."
)
@click.option("--papers", is_flag=True, help="Every figure that the papers print, beside ours.")
@_JSON
def list_models(bands: int, classes: int, *, papers: bool, as_json: bool) -> None:
    """List the shipped models, and the networks to build."""
    from geoseg.cli.models_report import print_models

    print_models(bands, classes, papers=papers, as_json=as_json)


@models.command(epilog=examples("geoseg models show buildings-liteunet"))
@_NAME_OR_PATH
@_JSON
def show(model: str, *, as_json: bool) -> None:
    """Show a model: purpose, needs, scores, license and sources."""
    from geoseg.cli.models_report import print_bundle
    from geoseg.models.bundle import load_bundle

    print_bundle(load_bundle(model), as_json=as_json)


@models.command(epilog=examples("geoseg models verify my-bundle"))
@_NAME_OR_PATH
@_JSON
def verify(model: str, *, as_json: bool) -> None:
    """Check a model's files, hashes and outputs.

    One line per check; exit code 2 if one fails.
    """
    import json
    from dataclasses import asdict

    from geoseg.models.exchange.verify import verify as checks

    passed, done = True, []
    for check in checks(model):
        passed = passed and check.passed
        done.append(asdict(check))
        if not as_json:
            click.echo(
                f"{'ok' if check.passed else 'wrong':6} {check.name:15} {check.message}", err=not check.passed
            )
    if as_json:
        click.echo(json.dumps({"passed": passed, "checks": done}, indent=2))
    sys.exit(0 if passed else 2)


@models.command(
    epilog=examples(
        "geoseg models export buildings-liteunet -o buildings.onnx",
        "geoseg models export ./mine -o tiles.onnx --format deepness",
    )
)
@_NAME_OR_PATH
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write."
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["onnx", "torch-export", "deepness"]),
    help="Default: by the file's name, .onnx or .pt2. deepness: ONNX of one tile size, which the QGIS plugin "
    "Deepness asks for.",
)
@click.option(
    "--tile",
    type=click.IntRange(min=1),
    metavar="PX",
    help="Fix height and width of an ONNX file (deepness: the model's window, else 512 or six halos).",
)
def export(model: str, *, output: Path, kind: str | None, tile: int | None) -> None:
    """Write a model for other programs.

    The file is compared with torch before it is kept. It takes (value - mean) / std as float32 (N, bands,
    H, W), 0 where there is no data, and gives probabilities (N, classes, H, W), borders between objects
    being a part of their class; height and width are multiples of the model's alignment.
    """
    from geoseg.models.bundle import load_bundle
    from geoseg.words import counted

    kind = kind or _FORMATS.get(output.suffix)
    if kind is None:
        raise click.UsageError(f"{output} has no known format; name it .onnx or .pt2, or give --format")
    suffix = ".pt2" if kind == "torch-export" else ".onnx"
    if output.suffix != suffix:
        raise click.UsageError(f"--format {kind} writes a {suffix} file, got {output}")
    if tile is not None and kind == "torch-export":
        raise click.UsageError("--tile is for ONNX files; a torch.export program takes any size")
    bundle = load_bundle(model)
    from geoseg.models.agreement import TOLERANCE
    from geoseg.models.exchange.export import export_onnx, export_torch

    if kind == "torch-export":
        done = export_torch(bundle, output)
    else:
        from geoseg.config.model.deepness import deepness_tile

        fixed = tile or (deepness_tile(bundle.spec) if kind == "deepness" else None)
        done = export_onnx(bundle, output, fixed)
    click.echo(
        f"{output}: {done.size / 1e6:.2f} MB, compared with torch on "
        f"{counted(len(done.sizes), 'image size')}: probabilities differ by {done.difference:.1g} at most "
        f"({TOLERANCE:g} is allowed)"
    )


def _refuse_to_replace(bundle: Path, *, overwrite: bool) -> None:
    from geoseg.errors import OutputError
    from geoseg.models.bundle import ITEM_NAME

    if (bundle / ITEM_NAME).exists() and not overwrite:
        raise OutputError(f"{bundle} holds a bundle already; choose another folder, or give --overwrite")


def _template(context: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    if value:
        from geoseg.config.model_card import CARD_TEMPLATE

        click.echo(CARD_TEMPLATE, nl=False)
        context.exit()


@models.command(
    "import",
    epilog=examples(
        "geoseg models import --template > card.yaml",
        "geoseg models import weights.pt --card card.yaml -o my-bundle",
    ),
)
@click.argument("weights", type=click.Path(path_type=Path), metavar="STATE_DICT")
@click.option(
    "--card",
    required=True,
    type=click.Path(path_type=Path),
    help="What the weights do not hold: bands, classes, scaling, license … (YAML).",
)
@_BUNDLE_TO_MAKE
@set_option("Override a key of the card, such as architecture=unet-skinny; may be repeated.")
@_OVERWRITE
@click.option(
    "--template",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_template,
    help="Print a card to edit, and nothing else.",
)
def import_model(
    weights: Path, *, card: Path, output: Path, overrides: dict[str, str], overwrite: bool
) -> None:
    """Make a bundle of bare weights.

    STATE_DICT is a safetensors file, or a state dict that torch.save wrote.
    """
    from geoseg.io.yaml.files import load_card

    _refuse_to_replace(output, overwrite=overwrite)
    described = load_card(card, overrides)
    from geoseg.models.exchange.import_weights import import_bundle

    bundle, lines = import_bundle(weights, described, output)
    for line in lines:
        click.echo(line)
    spec = bundle.spec
    assert spec.weights is not None, "it was saved"
    click.echo(
        f"{output}: {spec.name} {spec.version}, {spec.architecture}, {spec.weights.parameters:,} parameters, "
        f"halo {spec.halo} px; look at it with: geoseg models verify {output}"
    )


@models.command(epilog=examples("geoseg models measure ./mine --catalog labeled.json -o mine-measured"))
@_NAME_OR_PATH
@click.option(
    "--catalog",
    required=True,
    type=click.Path(path_type=Path),
    help="Scenes with labels, of up to 60 Mpx; dense places tell most.",
)
@click.option("--asset", metavar="KEY", help="Label asset of the scenes, where they have several.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["bf16", "int8"]),
    default=("bf16",),
    show_default=True,
    help="Compare with fp32; may be repeated.",
)
@_BUNDLE_TO_MAKE
@_OVERWRITE
def measure(
    model: str,
    *,
    catalog: Path,
    asset: str | None,
    precisions: tuple[str, ...],
    output: Path,
    overwrite: bool,
) -> None:
    """Measure what windows and lower precision change.

    A copy of the bundle learns the smallest halo that can be cropped without a seam, and which precisions
    change nothing that matters: runs take both by themselves. OpenVINO computes on this machine's CPU.
    """
    from geoseg.flow.measure import measure as measured
    from geoseg.models.bundle import load_bundle

    _refuse_to_replace(output, overwrite=overwrite)
    bundle = measured(
        load_bundle(model), catalog, output, asset=asset, precisions=precisions, note=click.echo
    )
    click.echo(f"{output}: {bundle.spec.name} {bundle.spec.version}, measured")


@models.command(epilog=examples("geoseg models quantize ./mine --catalog scenes.json -o mine-int8"))
@_NAME_OR_PATH
@click.option(
    "--catalog", required=True, type=click.Path(path_type=Path), help="Scenes such as the model will see."
)
@_BUNDLE_TO_MAKE
@_OVERWRITE
def quantize(model: str, *, catalog: Path, output: Path, overwrite: bool) -> None:
    """Quantize a model to 8-bit integers, for OpenVINO.

    A copy of the bundle gets a second graph, calibrated on windows of the scenes; `compute.precision: int8`
    computes with it. Measure next what it changes: geoseg models measure --precision int8.
    """
    from geoseg.flow.quantize import quantize as quantized
    from geoseg.models.bundle import load_bundle

    _refuse_to_replace(output, overwrite=overwrite)
    int8 = quantized(load_bundle(model), catalog, output).spec.int8
    assert int8 is not None, "it was made"
    size = int8.operations.size + int8.weights.size
    click.echo(f"{output}: int8 of {size / 1e6:.1f} MB, calibrated on {int8.data}")


@models.command(epilog=examples("geoseg models graph ./mine -o mine-with-graph"))
@_NAME_OR_PATH
@_BUNDLE_TO_MAKE
@_OVERWRITE
def graph(model: str, *, output: Path, overwrite: bool) -> None:
    """Give a model a graph, which OpenVINO and onnxruntime compute.

    Bundles that geoseg saves have one; this copies an older bundle and adds it. On a CPU such a model needs
    no torch, and takes less time.
    """
    from geoseg.models.bundle import load_bundle
    from geoseg.models.saving import graphed_bundle

    _refuse_to_replace(output, overwrite=overwrite)
    spec = graphed_bundle(load_bundle(model), output).spec
    assert spec.graph is not None, "it was made"
    click.echo(f"{output}: {spec.name} {spec.version} with a graph of {spec.graph.size / 1e3:.0f} kB")


@models.command(
    epilog=examples("geoseg models calibrate ./mine --errors maps/scene/errors.gpkg -o calibrated")
)
@click.argument("model", metavar="BUNDLE")
@click.option(
    "--errors",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="RUN/SCENE/errors.gpkg",
    help="Scored objects of a scene, as geoseg evaluate writes them beside a map of this model; may be "
    "repeated.",
)
@_BUNDLE_TO_MAKE
@_OVERWRITE
def calibrate(model: str, *, errors: tuple[Path, ...], output: Path, overwrite: bool) -> None:
    """Calibrate the confidence of a model's objects.

    A copy of the bundle learns from scored objects which share of a confidence is right (IoU of 0.5 or more);
    runs with it write that share as conf_right. It is for one class against a background, and holds for
    objects of the options and of imagery like those it was fitted on.
    """
    from geoseg.flow.calibrate import calibrate as fitted
    from geoseg.models.bundle import load_bundle

    _refuse_to_replace(output, overwrite=overwrite)
    found = fitted(load_bundle(model), errors, output)
    fitted_on, spec = found.calibration, found.bundle.spec
    click.echo(
        f"{output}: {spec.name} {spec.version}, calibrated on {fitted_on.objects:,} mapped objects of class "
        f"{fitted_on.class_name}, {found.share_right:.1%} of them right"
    )
    click.echo(
        f"calibration error: {found.error_before:.3f} before, {found.error_after:.3f} after (northern and "
        "southern halves of each scene, each calibrated by the other)"
    )
