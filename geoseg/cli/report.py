"""What ``check`` and ``plan`` print, and how every command names a scene."""

from __future__ import annotations

import json

import click

from geoseg.cli.tables import print_table
from geoseg.engine.plan import Plan
from geoseg.errors import without_scene
from geoseg.flow.run.prepare import Prepared
from geoseg.io.crs import crs_name
from geoseg.score.report.tables import Table
from geoseg.words import counted

__all__ = ["print_check", "print_plan", "scene_line"]


def scene_line(status: str, scene: str, message: str) -> str:
    """The line about a scene: how it ended, its id, and the rest, which need not name it again."""
    return f"{status:8} {scene}  {without_scene(message, scene)}".rstrip()


def print_check(prepared: Prepared) -> int:
    """One line per scene; returns the exit code."""
    for plan in prepared.plans:
        scene = plan.scene
        message = (
            f"{scene.geobox.width}×{scene.geobox.height} px, {counted(len(scene.bands), 'band')} "
            f"{scene.dtype}, {crs_name(scene.geobox.crs)}, {scene.resolution.mean:.3g} m"
        )
        found = prepared.findings.get(scene.ref.id)
        message += f", {found.summary}" if found else ""
        click.echo(scene_line("ok", scene.ref.id, message))
        for warning in (*plan.warnings, *(found.warnings if found else ())):
            click.echo(scene_line("warning", scene.ref.id, warning), err=True)
    _print_warnings(prepared)
    code = _print_refused(prepared)
    count = len(prepared.plans)
    click.echo(
        f"{prepared.loaded.source}: {counted(count, 'scene')} fit{'s' if count == 1 else ''} the model "
        f"{prepared.bundle.spec.name}, {len(prepared.refused)} refused"
    )
    if prepared.bundle.spec.coarsest_resolution is None:
        click.echo(
            f"note: {prepared.bundle.spec.name} does not say down to which ground resolution it was trained "
            "(coarsest_resolution): no scene was compared with it"
        )
    return code


def _print_warnings(prepared: Prepared) -> None:
    for warning in prepared.warnings:
        click.echo(f"warning  {warning}", err=True)


def _print_refused(prepared: Prepared) -> int:
    for refusal in prepared.refused:
        click.echo(scene_line("refused", refusal.scene, refusal.reason), err=True)
    return 2 if prepared.refused else 0


def _row(plan: Plan) -> dict[str, object]:
    tiles = plan.tiles
    return {
        "scene": plan.scene.ref.id,
        "size": list(plan.scene.geobox.shape),
        "network_size": list(plan.grid.shape),
        "window": [tiles.grid.rows.window, tiles.grid.cols.window],
        "halo": tiles.grid.rows.halo,
        "edge": tiles.grid.rows.edge,
        "blend": tiles.blend,
        "exact": tiles.exact,
        "windows": len(tiles.grid),
        "tasks": len(tiles.window_rows) * len(tiles.columns),
        "batch": tiles.batch,
        "overhead": round(tiles.grid.overhead, 3),
        "network_mpx": round(len(tiles.grid) * tiles.grid.rows.window * tiles.grid.cols.window / 1e6, 2),
        "worker_mb": round(plan.worker_bytes / 1e6),
        "disk_mb": round(plan.disk_bytes / 1e6, 1),
        "fingerprint": plan.fingerprint,
    }


_HEAD = ("scene", "px", "network px", "windows", "window", "halo", "blend", "tasks", "Mpx", "memory", "disk")


def _cells(plan: Plan) -> tuple[str, ...]:
    """A plan's line of the table; Mpx: what the network computes, overlaps included."""
    row, scene, grid, tiles = _row(plan), plan.scene.geobox, plan.grid, plan.tiles
    return (
        plan.scene.ref.id,
        f"{scene.width}×{scene.height}",
        f"{grid.width}×{grid.height}",
        f"{row['windows']}",
        f"{tiles.grid.cols.window}×{tiles.grid.rows.window}",
        f"{row['halo']}{' exact' if tiles.exact else ''}",
        tiles.blend,
        f"{row['tasks']}",
        f"{row['network_mpx']}",
        f"{row['worker_mb']} MB",
        f"{row['disk_mb']} MB",
    )


def print_plan(prepared: Prepared, *, as_json: bool) -> int:
    """The plans as a table or as JSON; returns the exit code."""
    if as_json:
        content = {
            "scenes": [_row(plan) | {"warnings": plan.warnings} for plan in prepared.plans],
            "refused": [{"scene": r.scene, "reason": r.reason} for r in prepared.refused],
            "warnings": prepared.warnings,
        }
        click.echo(json.dumps(content, indent=2))
        return 2 if prepared.refused else 0
    runtime, spec = prepared.runtime, prepared.bundle.spec
    click.echo(
        f"model    {spec.name} {spec.version} ({spec.sha256[:8]}), {runtime.precision} on {runtime.device} "
        f"{runtime.processor}, {counted(runtime.threads, 'thread')} a worker, {runtime.library}\n"
        f"output   {prepared.loaded.output}"
    )
    if prepared.plans:
        print_table(Table("", _HEAD, tuple(map(_cells, prepared.plans))))
    for plan in prepared.plans:
        for warning in plan.warnings:
            click.echo(scene_line("warning", plan.scene.ref.id, warning), err=True)
    _print_warnings(prepared)
    code = _print_refused(prepared)
    windows = sum(len(plan.tiles.grid) for plan in prepared.plans)
    disk = sum(plan.disk_bytes for plan in prepared.plans)
    click.echo(
        f"{counted(len(prepared.plans), 'scene')}, {counted(windows, 'window')}, at most {disk / 1e6:.1f} MB "
        f"of disk while running, {len(prepared.refused)} refused"
    )
    return code
