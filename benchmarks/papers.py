"""The papers' networks on the same ground, trained, chosen and tested alike: python benchmarks/papers.py.

Every network is trained by `geoseg train workflows/train_buildings.yaml` with one budget of chips, in a
process of its own; its weights are chosen on held-out blocks; then `geoseg evaluate --model …` maps and
scores the test half of Austin with all of them. What came out: benchmarks/papers.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from geoseg.config.stac.refs import LabelRef
from geoseg.flow.compare.compare import evaluate_models
from geoseg.flow.train.train import Event, train
from geoseg.io.stac.folder import make_catalog
from geoseg.models.networks.registry import build
from geoseg.training.events import Stepped, TrainingStarted, Validated

ROOT = Path(__file__).parents[1]
TRAINING = ROOT / "workflows" / "train_buildings.yaml"
MAPPING = ROOT / "workflows" / "austin_buildings.yaml"

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "micro-net": ("micronet", {}),
    "bm2": ("micronet-bm2", {}),
    "mininet-1": ("mininet-1", {}),
    "mininet-2": ("mininet-2", {}),
    "unet-skinny": ("unet-skinny", {}),
    "mobilenetv2-dl": ("mobilenetv2", {"head": "dl"}),
    "mobilenetv2-da": ("mobilenetv2", {"head": "da"}),
    "mobilenetv3-small-da": ("mobilenetv3-small", {"head": "da"}),
    "smp-unet-resnet34": ("smp", {"architecture": "unet", "encoder": "resnet34"}),
    "bm1": ("micronet-bm1", {}),
    "bm3": ("micronet-bm3", {}),
    "u-net": ("micronet-unet", {}),
    "unet-base": ("unet-base", {}),
    "unet-short": ("unet-short", {}),
    "unet-less-conv": ("unet-less-conv", {}),
    "unetpp-resnet34": ("unetpp-resnet34", {}),
    "deeplabv3plus-resnet34": ("deeplabv3plus-resnet34", {}),
}
"""Name in the table to architecture and arguments. The first nine are what a CPU can train in an evening."""
SMALL = tuple(NETWORKS)[:9]
TEST_WINDOW = (0, 500, 1000, 500)
"""Row, column, height, width of Austin's test half, which no training reads."""


def budget(arguments: argparse.Namespace) -> dict[str, str]:
    """What every training is given alike, over the training file."""
    return {
        "preset": "geoseg",
        "distill": "null",
        "chips.size": f"{arguments.size} px",
        "train.steps": str(arguments.steps),
        "train.batch": str(arguments.batch),
        "train.optimizer.rate": "0.001",
        "train.precision": arguments.precision,
        "train.validate_every": str(max(arguments.steps // 4, 1)),
        "train.checkpoint_every": str(max(arguments.steps // 4, 1)),
        "compute.device": arguments.device,
        "seed": str(arguments.seed),
    }


def train_one(name: str, arguments: argparse.Namespace) -> None:
    """Train a network in this process and leave ``figures.json`` beside its bundle."""
    architecture, extra = NETWORKS[name]
    folder = arguments.out / name
    clock = {"steps": 0, "wall": 0.0, "cpu": 0.0, "last": 0.0}

    def watch(event: Event) -> None:
        # CPU time between steps: validations and what other programs take do not count.
        now = time.process_time()
        if isinstance(event, Stepped):
            clock["steps"] += 1
            clock["wall"] += event.seconds
            clock["cpu"] += now - clock["last"]
        if isinstance(event, Stepped | TrainingStarted | Validated):
            clock["last"] = now

    settings = budget(arguments) | {
        "model.name": name,
        "model.title": name,
        "model.architecture": architecture,
        "model.arguments": json.dumps(extra),
        "output": str(folder),
    }
    summary = train(TRAINING, settings, watch)
    chips = clock["steps"] * arguments.batch
    network = build(architecture, bands=3, classes=2, **extra)
    figures = {
        "name": name,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "steps": summary.result.step,
        "cpu_seconds_per_1000_chips": 1000 * clock["cpu"] / chips if chips else None,
        "wall_seconds_per_1000_chips": 1000 * clock["wall"] / chips if chips else None,
        "peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "chosen": summary.result.score.chosen,
        "places": {place: iou[1] for place, iou in summary.result.score.iou.items()},
        "bundle": str(summary.bundle.folder),
    }
    done = folder / "figures.json"
    if done.is_file() and not clock["steps"]:
        return  # trained before: its times are those of then
    done.write_text(json.dumps(figures, indent=2) + "\n")


def test_all(arguments: argparse.Namespace, bundles: dict[str, str]) -> dict[str, Any]:
    """Map and score Austin's test half with each model, by the path of ``geoseg run``."""
    folder = Path(os.environ["GEOSEG_DATA"]) / "buildings" / "austin_inria"
    scenes = arguments.out / "austin"
    scenes.mkdir(exist_ok=True)
    link = scenes / "austin_sample.tif"
    if not link.exists():
        link.symlink_to((folder / "austin_sample.tif").resolve())
    catalog = arguments.out / "austin.json"
    make_catalog(scenes, catalog)
    reference = LabelRef(
        href=str((folder / "austin_sample_mask.tif").resolve()),
        classes=((0.0, 0), (255.0, 1)),
        area_window=TEST_WINDOW,
    )
    settings = {"catalog": str(catalog), "output": str(arguments.out / "maps"), "compute.workers": "1"}
    compared = evaluate_models(MAPPING, list(bundles.values()), settings, reference=reference, worst=4)
    return compared.comparison.to_dict()


def measure(value: dict[str, Any] | None, scale: float = 100.0, *, sign: bool = False) -> str:
    """A figure with its interval."""
    if value is None:
        return "–"
    if value["low"] is None:
        return f"{scale * value['value']:.1f}"
    form = "+.1f" if sign else ".1f"
    return f"{scale * value['value']:{form}} [{scale * value['low']:{form}}, {scale * value['high']:{form}}]"


def table(trained: list[dict[str, Any]], comparison: dict[str, Any]) -> str:
    """All figures as a Markdown table, in the order of training."""
    tested = {row["model"]: row for row in comparison["models"]}
    heads = (
        "network",
        "parameters",
        "GFLOPs / Mpx",
        "training: CPU s / 1000 chips",
        "peak GB",
        "held-out IoU %: mean (Banepa, Zanzibar, Kampala)",
        "Austin test: building IoU %",
        "mIoU %",
        "ACC %",
        "map Mpx/s",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in trained:
        test = tested[row["name"]]
        scores, cost = test["scores"], test["cost"]
        places = ", ".join(f"{100 * row['places'][place]:.1f}" for place in ("banepa", "zanzibar", "kampala"))
        speed = cost["map_mpx_per_second"]
        lines.append(
            f"| {row['name']} | {row['parameters']:,} | {cost['gflops_per_mpx']:.1f} | "
            f"{row['cpu_seconds_per_1000_chips']:.0f} | {row['peak_rss_gb']:.1f} | "
            f"{100 * row['chosen']:.1f} ({places}) | {measure(scores['iou'][1])} | "
            f"{measure(scores['mean_iou'])} | {measure(scores['accuracy'])} | "
            f"{'–' if speed is None else f'{speed:.2f}'} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Train what is not trained yet, test everything, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of trainings, maps and papers.json")
    parser.add_argument("--networks", nargs="*", choices=list(NETWORKS), default=list(SMALL))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=384, help="side of a chip in pixels")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one", choices=list(NETWORKS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.out = arguments.out.resolve()
    if "GEOSEG_DATA" not in os.environ:
        sys.exit("papers: set GEOSEG_DATA to the folder with buildings/ (see catalogs/open_buildings.json)")
    if arguments.one:
        train_one(arguments.one, arguments)
        return
    trained = []
    for name in arguments.networks:
        figures = arguments.out / name / "figures.json"
        if not figures.is_file():
            print(f"training {name}", flush=True)
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--one", name], check=True)  # noqa: S603
        trained.append(json.loads(figures.read_text()))
    comparison = test_all(arguments, {row["name"]: row["bundle"] for row in trained})
    result = {"budget": budget(arguments), "trained": trained, "comparison": comparison}
    (arguments.out / "papers.json").write_text(json.dumps(result, indent=2) + "\n")
    print(table(trained, comparison))


if __name__ == "__main__":
    main()
