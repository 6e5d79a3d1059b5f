"""What ``check`` and ``plan`` print."""

from __future__ import annotations

import json

import click

from geoseg.engine.plan import Plan
from geoseg.flow.prepare import Prepared

__all__ = ["print_check", "print_plan"]


def print_check(prepared: Prepared) -> int:
    """One line per scene; returns the exit code."""
    for plan in prepared.plans:
        scene = plan.scene
        click.echo(
            f"ok       {scene.ref.id}  {scene.geobox.width}×{scene.geobox.height} px, "
            f"{len(scene.bands)} bands {scene.dtype}, {scene.geobox.crs[:40]}, {scene.resolution.mean:.3g} m"
        )
    for refusal in prepared.refused:
        click.echo(f"refused  {refusal.reason}", err=True)
    click.echo(
        f"{prepared.loaded.source}: {len(prepared.plans)} scenes fit the model {prepared.bundle.spec.name}, "
        f"{len(prepared.refused)} refused"
    )
    return 2 if prepared.refused else 0


def _row(plan: Plan) -> dict[str, object]:
    tiles = plan.tiles
    return {
        "scene": plan.scene.ref.id,
        "size": list(plan.scene.geobox.shape),
        "network_size": list(plan.grid.shape),
        "window": [tiles.grid.rows.window, tiles.grid.cols.window],
        "halo": tiles.grid.rows.halo,
        "blend": tiles.blend,
        "exact": tiles.exact,
        "windows": len(tiles.grid),
        "tasks": len(tiles.bands),
        "batch": tiles.batch,
        "overhead": round(tiles.grid.overhead, 3),
        "network_mpx": round(len(tiles.grid) * tiles.grid.rows.window * tiles.grid.cols.window / 1e6, 2),
        "worker_mb": round(plan.worker_bytes / 1e6),
        "disk_mb": round(plan.disk_bytes / 1e6, 1),
        "fingerprint": plan.fingerprint,
    }


def print_plan(prepared: Prepared, *, as_json: bool) -> int:
    """The plans as a table or as JSON; returns the exit code."""
    rows = [_row(plan) for plan in prepared.plans]
    if as_json:
        refused = [{"scene": r.scene, "reason": r.reason} for r in prepared.refused]
        click.echo(json.dumps({"scenes": rows, "refused": refused}, indent=2))
        return 2 if refused else 0
    click.echo(
        f"model    {prepared.bundle.spec.name} {prepared.bundle.spec.sha256[:8]}, {prepared.runtime}\n"
        f"output   {prepared.loaded.output}"
    )
    head = f"{'scene':24} {'scene px':>13} {'network px':>13} {'windows':>15} {'halo':>10} {'blend':>9}"
    click.echo(f"{head} {'tasks':>6} {'Mpx':>8} {'memory':>9} {'disk':>10}")
    for plan, row in zip(prepared.plans, rows, strict=True):
        grid, tiles = plan.grid, plan.tiles
        windows = f"{len(tiles.grid)} × {tiles.grid.rows.window}×{tiles.grid.cols.window}"
        halo = f"{tiles.grid.rows.halo}{' exact' if tiles.exact else ''}"
        click.echo(
            f"{plan.scene.ref.id[:24]:24} {plan.scene.geobox.width:>6}×{plan.scene.geobox.height:<6} "
            f"{grid.width:>6}×{grid.height:<6} {windows:>15} {halo:>10} {tiles.blend:>9} "
            f"{len(tiles.bands):>6} {row['network_mpx']:>8} {row['worker_mb']:>6} MB {row['disk_mb']:>7} MB"
        )
    for refusal in prepared.refused:
        click.echo(f"refused  {refusal.reason}", err=True)
    total = sum(len(plan.tiles.grid) for plan in prepared.plans)
    disk = sum(plan.disk_bytes for plan in prepared.plans)
    click.echo(
        f"{len(prepared.plans)} scenes, {total} windows, at most {disk / 1e6:.1f} MB of disk while running, "
        f"{len(prepared.refused)} refused"
    )
    return 2 if prepared.refused else 0
