"""Every network of the registry side by side: size, work, speed, memory: python benchmarks/networks.py.

What is measured, how, and what came out: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import inspect
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from geoseg.models.cost.memory import pass_bytes
from geoseg.models.cost.operations import count
from geoseg.models.networks.network import Network
from geoseg.models.networks.registry import ARCHITECTURES, build
from geoseg.models.runtime import intra_op_threads, tune_allocator

REFERENCE = "mininet-2"
BANDS, CLASSES = 3, 2
WINDOW, CHIP, BATCH, SIDE = 512, 256, 2, 1024
MOST_ROUNDS = 15
Step = Callable[[], None]


def variants() -> dict[str, tuple[str, dict[str, Any]]]:
    """Label to architecture and arguments: each in its default form, and with each head it can have."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, architecture in ARCHITECTURES.items():
        parameters = inspect.signature(architecture.factory).parameters
        if any(p.default is p.empty for key, p in parameters.items() if key not in ("bands", "classes")):
            continue  # a gateway to other networks, not one of its own
        heads = get_args(get_type_hints(architecture.factory)["head"]) if "head" in parameters else ()
        for head in heads or (None,):
            label = name if head is None else f"{name} {head}"
            found[label] = name, {} if head is None else {"head": head}
    return found


def channels_last(network: Network) -> Network:
    """The layout that predictions and training use."""
    return network.to(memory_format=cast("Any", torch.channels_last))


def prediction(network: Network, side: int, *, bf16: bool = False) -> Step:
    """One forward pass over one window."""
    image = torch.rand(1, BANDS, side, side).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        network.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            network(image)

    return step


def training(network: Network) -> Step:
    """One step of SGD on a batch of chips: forward, cross-entropy, backward, update."""
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9)
    images = torch.rand(BATCH, BANDS, CHIP, CHIP).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (BATCH, CHIP, CHIP))

    def step() -> None:
        network.train()
        loss = F.cross_entropy(cast("Tensor", network(images)), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()

    return step


def cpu_seconds(step: Step) -> float:
    """CPU time of this process: what else the machine does hardly shows."""
    start = time.process_time()
    step()
    return time.process_time() - start


def in_turn(steps: dict[str, Step], seconds: float) -> dict[str, list[float]]:
    """CPU seconds of each step, taken in turn round by round after one to warm up: at least two rounds."""
    for step in steps.values():
        step()
    taken: dict[str, list[float]] = {name: [] for name in steps}
    rounds, start = 0, time.perf_counter()
    while rounds < 2 or (time.perf_counter() - start < seconds and rounds < MOST_ROUNDS):  # noqa: PLR2004 - a second round shows the spread
        for name, step in steps.items():
            taken[name].append(cpu_seconds(step))
        rounds += 1
    return taken


def peak_bytes(step: Step) -> float:
    """Memory that a step takes beyond what is held already, library files left out."""

    def resident(field: str) -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        values = dict(line.split(":", 1) for line in lines)
        return (int(values[field].split()[0]) - int(values["RssFile"].split()[0])) * 1024

    # What was freed is given back first: a step that fills it would seem to take less.
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # sets VmHWM to what is held now
    step()
    return resident("VmHWM") - before


def measure(name: str, arguments: dict[str, Any], seconds: float) -> dict[str, Any]:
    """All figures of one network; to be called in a fresh process."""
    tune_allocator()
    torch.manual_seed(0)
    network = channels_last(build(name, bands=BANDS, classes=CLASSES, **arguments))
    reference = channels_last(build(REFERENCE, bands=BANDS, classes=CLASSES))
    size = count(name, SIDE, SIDE, bands=BANDS, classes=CLASSES, **arguments)
    with intra_op_threads(1):
        forward = prediction(network, WINDOW)
        prediction(network, CHIP)()
        peak = peak_bytes(forward)
        steps = {"reference": prediction(reference, WINDOW), "fp32": forward}
        if torch.cpu._is_avx512_bf16_supported():  # noqa: SLF001 - torch has no public name for it
            steps["bf16"] = prediction(network, WINDOW, bf16=True)
        predicted = in_turn(steps, seconds)
        trained = in_turn({"reference": training(reference), "fp32": training(network)}, seconds)
    window = WINDOW**2 / 1e6
    ratios = {
        key: statistics.median(a / b for a, b in zip(predicted["reference"], values, strict=True))
        for key, values in predicted.items()
    }
    step_ratio = statistics.median(b / a for a, b in zip(trained["reference"], trained["fp32"], strict=True))
    return {
        "parameters": size.parameters,
        "multiply_adds_per_mpx": size.multiply_adds / (SIDE**2 / 1e6),
        "planned_bytes_per_pixel": pass_bytes(
            name, {"bands": BANDS, "classes": CLASSES} | arguments, WINDOW**2
        )
        / WINDOW**2,
        "peak_bytes_per_pixel": peak / WINDOW**2,
        "mpx_per_second": {key: window / statistics.median(values) for key, values in predicted.items()},
        "speed_to_reference": ratios,
        "training_step_ms": statistics.median(trained["fp32"]) * 1e3,
        "training_step_to_reference": step_ratio,
        "rounds": {"prediction": len(predicted["fp32"]), "training": len(trained["fp32"])},
    }


def in_own_process(label: str, seconds: float) -> dict[str, Any]:
    """The figures of one network, measured where nothing else was allocated before."""
    command = [sys.executable, __file__, "--measure", label, "--seconds", str(seconds)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603 - our own script
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def header() -> Iterator[str]:
    """First lines of the table."""
    yield (
        "| network | parameters | G multiply-adds / Mpx | peak B/px (planned) | fp32 Mpx/s (×) "
        "| bf16 Mpx/s (×) | training step ms (×) |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|"


def line(label: str, figures: dict[str, Any]) -> str:
    """One network as a line of the table."""
    speeds, ratios = figures["mpx_per_second"], figures["speed_to_reference"]
    shown = [f"{speeds[k]:.2f} ({ratios[k]:.2f})" if k in speeds else "–" for k in ("fp32", "bf16")]
    return (
        f"| {label} | {figures['parameters']:,} | {figures['multiply_adds_per_mpx'] / 1e9:.2f} "
        f"| {figures['peak_bytes_per_pixel']:,.0f} ({figures['planned_bytes_per_pixel']:,.0f}) "
        f"| {shown[0]} | {shown[1]} "
        f"| {figures['training_step_ms']:,.0f} ({figures['training_step_to_reference']:.1f}) |"
    )


def main() -> None:
    """Measure all networks, or those asked for."""
    known = variants()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="WORD", help="networks whose label begins with a word")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="of rounds, each for predicting and training"
    )
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--measure", choices=sorted(known), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        name, others = known[arguments.measure]
        print(json.dumps(measure(name, others, arguments.seconds)))
        return
    chosen = [label for label in known if label.startswith(tuple(arguments.only or [""]))]
    if not chosen:
        parser.error(f"no network begins with {' or '.join(arguments.only)}; there are {', '.join(known)}")
    found: dict[str, dict[str, Any]] = {}
    print(*header(), sep="\n", flush=True)
    for label in chosen:
        found[label] = in_own_process(label, arguments.seconds)
        print(line(label, found[label]), flush=True)
    if arguments.json is not None:
        machine = {
            "cores": len(os.sched_getaffinity(0)),
            "processor": torch.backends.cpu.get_cpu_capability(),
            "torch": str(torch.__version__),
            "load": os.getloadavg()[0],
        }
        arguments.json.write_text(json.dumps({"machine": machine, "networks": found}, indent=2))


if __name__ == "__main__":
    main()
