"""What ``geoseg models list`` and ``show`` print."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby

import click
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from geoseg.cli.tables import print_table
from geoseg.config.model.contract import BundleSpec, Metric
from geoseg.io.weights import read_item
from geoseg.models.bundle import ITEM_NAME, Bundle, load_bundle, shipped_bundles
from geoseg.models.papers import Figure, paper_figures
from geoseg.models.zoo import Member, model_zoo
from geoseg.score.report.tables import Table
from geoseg.words import counted, listed

__all__ = ["print_bundle", "print_models"]

_SHIPPED = ("model", "network", "parameters", "MB", "bands", "ground", "classes")
_NETWORKS = ("network", "parameters", "GFLOPs/Mpx", "MB/Mpx", "radius", "align", "paper", "ours", "of")
_PAPERS = ("network", "row", "table", "figure", "paper", "ours")


def print_models(bands: int, classes: int, *, papers: bool, as_json: bool) -> None:
    """The shipped models and the networks, as tables or as JSON."""
    shipped = [load_bundle(name) for name in shipped_bundles()]
    members = list(model_zoo(bands, classes))
    figures = {member.name: list(paper_figures(member.name)) for member in members} if papers else {}
    if as_json:
        networks = [asdict(member) for member in members]
        for network in networks if papers else []:
            network["figures_of_papers"] = [asdict(figure) for figure in figures[network["name"]]]
        models = [_shipped_json(bundle) for bundle in shipped]
        shown = {"bands": bands, "classes": classes, "models": models, "networks": networks}
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    print_table(Table("Shipped models", _SHIPPED, tuple(map(_shipped_row, shipped)), left=(0, 1, 4, 6)))
    click.echo()
    if papers:
        rows = tuple(
            (name, one.row, one.table, one.measure, one.printed, one.ours or "–")
            for name, found in figures.items()
            for one in found
        )
        print_table(Table("What the papers print, and geoseg's networks", _PAPERS, rows, left=(0, 1, 2, 3)))
        click.echo(
            "Ours is rounded or cut off as the paper's figure is. Scores, in percent, are of the papers'\n"
            "own data and training; what geoseg's networks reach is in benchmarks/papers.md."
        )
        return
    title = f"Networks, with {bands} bands and {classes} classes"
    print_table(Table(title, _NETWORKS, tuple(map(_row, members)), left=(0, 8)))
    click.echo(
        "GFLOPs: multiply-adds, as the papers count them. MB: memory of one forward pass in float32.\n"
        "Radius and alignment in pixels; global: every output sees the whole window.\n"
        "paper, ours: parameters that its paper prints of a network; --papers prints all figures."
    )


def _shipped_row(bundle: Bundle) -> tuple[str, ...]:
    spec = bundle.spec
    assert spec.weights is not None, "it was saved"
    return (
        spec.name,
        spec.architecture,
        f"{spec.weights.parameters:,}",
        f"{spec.weights.size / 1e6:.1f}",
        ", ".join(spec.bands),
        f"{spec.resolution:g} m",
        listed((c.name for c in spec.classes), limit=4),
    )


def _shipped_json(bundle: Bundle) -> dict[str, object]:
    spec = bundle.spec
    return {
        "name": spec.name,
        "version": spec.version,
        "title": spec.title,
        "license": spec.license,
        "architecture": spec.architecture,
        "bands": list(spec.bands),
        "classes": [c.name for c in spec.classes],
        "border": spec.border,
        "resolution": spec.resolution,
        "parameters": spec.weights and spec.weights.parameters,
        "bytes": spec.weights and spec.weights.size,
        "folder": str(bundle.folder),
    }


def _row(member: Member) -> tuple[str, ...]:
    paper = (
        ("", "", "")
        if member.paper is None
        else (member.paper.printed, member.paper.ours or "", _what(member.paper))
    )
    if member.figures is None:
        return (member.name, f"needs {', '.join(member.needs)}", "", "", "", "", *paper)
    found = member.figures
    return (
        member.name,
        f"{found.parameters:,}",
        f"{found.giga_operations:.1f}",
        f"{found.bytes_per_pixel:,.0f}",
        "global" if found.radius is None else str(found.radius),
        str(found.alignment),
        *paper,
    )


def _what(figure: Figure) -> str:
    return figure.row if figure.measure == "parameters" else f"{figure.row}, {figure.measure}"


def print_bundle(bundle: Bundle, *, as_json: bool) -> None:
    """A bundle's contract: for people, or its STAC item."""
    if as_json:
        click.echo(json.dumps(read_item(bundle.folder / ITEM_NAME), indent=2, ensure_ascii=False))
        return
    if sys.stdout.isatty():
        grid = RichTable.grid(padding=(0, 2))
        for key, text, color in _said(bundle):
            swatch = Text("■ ", style=color) if color else Text()
            grid.add_row(Text(key, style="bold"), swatch + Text(text))
        Console().print(grid)
        return
    for key, text, _ in _said(bundle):
        click.echo(f"{key:10}{text}")


def _said(bundle: Bundle) -> Iterator[tuple[str, str, str | None]]:
    """Key, or nothing where the key above goes on; text; color of a swatch before it."""
    spec = bundle.spec
    assert spec.weights is not None, "it was saved"
    yield "model", f"{spec.name} {spec.version}: {spec.title}", None
    yield "about", spec.description, None
    yield "license", f"{spec.license} (of the weights)", None
    size = f"{spec.weights.parameters:,} parameters, {spec.weights.size / 1e6:.2f} MB"
    yield "network", f"{spec.architecture}, {size}, sha256 {spec.sha256[:16]}…", None
    chosen = {key: value for key, value in spec.arguments.items() if key not in ("bands", "classes")}
    if chosen:
        yield "arguments", json.dumps(chosen), None
    yield "wants", _wants(spec), None
    for index, (band, mean, std) in enumerate(
        zip(spec.bands, spec.scaling.mean, spec.scaling.std, strict=True)
    ):
        yield "bands" if index == 0 else "", f"{band}: ({spec.value_dtype} - {mean:g}) / {std:g}", None
    yield "ground", f"{spec.resolution:g} m, within {spec.resolution_tolerance:.0%} unresampled", None
    for index, one in enumerate(spec.classes):
        ground = ", background" if one.background else ""
        yield (
            "classes" if index == 0 else "",
            f"{one.id} {one.name} {one.color} {one.title}{ground}",
            one.color,
        )
    if spec.border:
        yield "", f"and the border between objects of {spec.only_class}, which parts those that touch", None
    yield "windows", _windows(spec), None
    for index, (data, metrics) in enumerate(groupby(spec.metrics, key=lambda metric: metric.data)):
        yield "figures" if index == 0 else "", f"{', '.join(map(_figure, metrics))}: {data}", None
    if spec.calibration is not None:
        known = spec.calibration
        yield "objects", f"{known.class_name}, calibrated on {known.objects:,}. {known.data}", None
    for index, source in enumerate(spec.training.data):
        url = "" if source.url is None else f", {source.url}"
        yield (
            "data" if index == 0 else "",
            f"{source.name}: {source.attribution} ({source.license}){url}",
            None,
        )
    yield "training", f"{spec.training.procedure} Seed {spec.training.seed}.", None
    software = f"geoseg {spec.weights.geoseg}, torch {spec.weights.torch}"
    yield "made", f"{spec.weights.created:%Y-%m-%d} with {software}, in {bundle.folder}", None


_KINDS = {
    "display": "8-bit images as a screen shows them",
    "reflectance": "reflectance (0 to 1)",
    "raw": "values as a sensor or its product stores them",
    None: "values",
}


def _wants(spec: BundleSpec) -> str:
    """The contract in words: which images it takes."""
    low, high = (end(pair[k] for pair in spec.seen_range) for k, end in ((0, min), (1, max)))
    about = "" if spec.value_range is not None else "about "
    bands = f"{counted(len(spec.bands), 'band')} ({', '.join(spec.bands)}, in this order)"
    stretch = (
        "; others by scenes.stretch, the values that mean black and white"
        if spec.value_dtype == "uint8"
        else ""
    )
    kind = f"{_KINDS[spec.values]}, {spec.value_dtype}, most of them {about}{low:.4g} to {high:.4g}{stretch}"
    ground = f"Pixels of {spec.resolution:g} m on the ground; finer ones are averaged"
    coarsest = spec.coarsest_resolution
    limit = (
        "how coarse they may be is not known"
        if coarsest is None
        else f"coarser than {coarsest:g} m the map is worse, and beyond {2 * coarsest:g} m refused "
        "(scenes.resolution: any)"
    )
    return f"Images of {bands}: {kind}. {ground}; {limit}."


def _windows(spec: BundleSpec) -> str:
    reach = (
        "sees the whole window"
        if spec.receptive_field_radius is None
        else f"sees {spec.receptive_field_radius} px around"
    )
    measured = f"{spec.halo_agreement:.2%} of classes as with more" if spec.halo_agreement else "not measured"
    size = "any size" if spec.window is None else f"{spec.window} px, as trained"
    return f"{size}; halo {spec.halo} px ({measured}); aligned to {spec.alignment} px; {reach}"


def _figure(metric: Metric) -> str:
    ends = "" if metric.low is None or metric.high is None else f" [{metric.low:.3f}, {metric.high:.3f}]"
    return f"{metric.name} {metric.value:.3f}{ends}"
