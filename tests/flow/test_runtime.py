"""What computes a run is decided once: a resume goes on with it, or refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster
from synthetic.bundles import random_bundle

from geoseg.config.workflow import Compute
from geoseg.engine.execute import ask_workers
from geoseg.errors import OutputError, RunError
from geoseg.flow.run.prepare import prepare
from geoseg.flow.run.run import run
from geoseg.flow.run.runtime import RUNTIME_NAME, keep_runtime, resolve_runtime
from geoseg.io import weights
from geoseg.models.bundle import load_bundle
from geoseg.models.processor import Processor
from geoseg.models.runtime import Runtime

AUTO = Compute()
WORKFLOW = "workflows/austin_buildings.yaml"


def _here(monkeypatch: pytest.MonkeyPatch, instruction_set: str) -> None:
    monkeypatch.setattr(Processor, "here", classmethod(lambda cls: cls(instruction_set, "GenuineIntel")))


def test_a_resume_goes_on_as_the_run_began_or_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle("buildings-liteunet")
    _here(monkeypatch, "AVX512_CORE_AMX")
    began = Runtime.of_model(bundle.spec, "cpu", "bf16")
    keep_runtime(tmp_path, bundle, began)
    assert resolve_runtime(AUTO, bundle, tmp_path) == began
    _here(monkeypatch, "AVX2")
    with pytest.raises(
        RunError, match=r"this one has AVX2; use fp32; the run in .* began with openvino, bf16"
    ):
        resolve_runtime(AUTO, bundle, tmp_path)
    # What is asked for by name counts, and another model or folder begins anew.
    asked = Compute.model_validate({"precision": "fp32"})
    assert resolve_runtime(asked, bundle, tmp_path).precision == "fp32"
    assert resolve_runtime(AUTO, load_bundle("buildings-mininet2"), tmp_path).precision == "fp32"
    assert resolve_runtime(AUTO, bundle, tmp_path / "other").precision == "fp32"


def test_what_was_kept_and_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / RUNTIME_NAME).write_text('{"model": "x", "backend": "abacus"}')
    with pytest.raises(OutputError, match=f"{RUNTIME_NAME} does not say what computes this run; remove it"):
        resolve_runtime(AUTO, load_bundle("buildings-liteunet"), tmp_path)


@pytest.mark.slow
def test_a_run_keeps_what_computed_it_and_says_what_a_precision_changes(root: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"output": str(tmp_path), "evaluate": None, "compute.precision": "int8"}
    done = run(root / WORKFLOW, changes)
    assert [scene.status for scene in done.scenes] == ["done"]
    assert sum("compute.precision: int8: IoU" in note for note in done.notes) == 2
    kept = json.loads((tmp_path / RUNTIME_NAME).read_text())
    assert (kept["backend"], kept["precision"]) == ("openvino", "int8")
    # Without the word the run goes on as it began: the scene is mapped already.
    del changes["compute.precision"]
    assert prepare(root / WORKFLOW, changes).runtime.precision == "int8"
    assert [scene.status for scene in run(root / WORKFLOW, changes).scenes] == ["skipped"]


@pytest.mark.slow
def test_workers_of_a_cluster_are_asked_and_must_be_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle("buildings-liteunet")
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, protocol="tcp"
    ) as cluster:
        address = cluster.scheduler_address
        assert set(ask_workers(address, Processor.here).values()) == {Processor.here()}
        elsewhere = Compute.model_validate({"scheduler": address})
        here = resolve_runtime(AUTO, bundle, tmp_path)
        with monkeypatch.context() as patched:
            patched.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # the driver's own CPU does not matter
            assert resolve_runtime(elsewhere, bundle, tmp_path) == here
    found = {"one": Processor("AVX2", ""), "two": Processor("AVX512_CORE", "")}
    monkeypatch.setattr("geoseg.flow.run.runtime.ask_workers", lambda *_: found)
    with pytest.raises(RunError, match=r"different instruction sets .AVX2, AVX512_CORE"):
        resolve_runtime(elsewhere, bundle, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_a_run_hashes_each_file_of_its_model_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    random_bundle(tmp_path / "model", arguments={"widths": [8, 8]}, graph=True)
    shutil.copytree(tmp_path / "model", tmp_path / "copy")
    monkeypatch.setattr("geoseg.models.bundle._networks", {})  # as in a process that has loaded none
    hashed: list[str] = []
    real = weights._hashed

    def counted(path: Path, data: bytes, sha256: str) -> bytes:
        hashed.append(path.name)
        return real(path, data, sha256)

    monkeypatch.setattr(weights, "_hashed", counted)
    changes: dict[str, Any] = {
        "model": str(tmp_path / "copy"),
        "output": str(tmp_path / "out"),
        "evaluate": None,
        "vectorize": None,
        "compute.backend": backend,
        "compute.executor": "serial",
        "tiling.window": "256 px",
    }
    assert [scene.status for scene in run(root / WORKFLOW, changes).scenes] == ["done"]
    assert sorted(hashed) == ["graph.onnx", "weights.safetensors"]
