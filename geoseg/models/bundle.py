"""Bundles: a contract and its weights, found by name or path, loaded once per process.

torch is imported when a network is asked for, not before: checking a workflow against a model needs only the
contract.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from geoseg._version import __version__
from geoseg.config.model.contract import BundleSpec, GraphFile, WeightsFile
from geoseg.config.model.mlm import GRAPH_NAME, INT8_NAMES, WEIGHTS_NAME, from_item, to_item
from geoseg.errors import BundleError
from geoseg.io.files import write_json
from geoseg.io.weights import (
    check_file,
    check_graph,
    check_weights,
    copy_graph,
    copy_weights,
    read_item,
    read_weights,
    write_graph,
    write_weights,
)
from geoseg.models.graph import make_graph
from geoseg.models.runtime import Precision
from geoseg.words import did_you_mean, listed

if TYPE_CHECKING:
    from torch import Tensor

    from geoseg.models.networks.network import Network

__all__ = [
    "ITEM_NAME",
    "Bundle",
    "changed_bundle",
    "graphed_bundle",
    "load_bundle",
    "save_bundle",
    "shipped_bundles",
]

ITEM_NAME = "item.json"

_networks: dict[str, Network] = {}
_networks_lock = threading.Lock()
_checked_graphs: list[tuple[Path, BundleSpec]] = []


@dataclass(frozen=True, slots=True)
class Bundle:
    """A saved model: its contract and where its files are. Small and picklable; weights stay on disk."""

    spec: BundleSpec
    folder: Path  # absolute path of the folder with ``item.json`` and ``weights.safetensors``

    def network(self) -> Network:
        """The network with its weights: float32, CPU, channels last, evaluation mode, without gradients.

        Loaded once per process for any number of threads; every caller gets the same object, so copy it
        before changing it.

        Raises:
            BundleError: the weights are missing, altered, a pickle, or of another architecture.
        """
        key = self.spec.network_digest
        with _networks_lock:
            if key not in _networks:
                skeleton, path = _skeleton(self.spec), self.folder / WEIGHTS_NAME
                _networks[key] = _filled(skeleton, read_weights(path, self.spec.sha256), str(path))
            return _networks[key]

    def check(self) -> None:
        """Find what would keep the network from being loaded; without torch where the bundle is as saved.

        Raises:
            BundleError: as :meth:`network`.
        """
        if self.spec.is_as_saved:
            check_weights(self.folder / WEIGHTS_NAME, self.spec.sha256)
        else:
            self.network()
        if self.spec.graph is not None:
            self.check_graph()

    def graph_path(self, precision: Precision = "fp32") -> Path:
        """File of the graph that is computed in a precision; a BundleError where the bundle has none."""
        name, spec = self.spec.name, self.spec
        if precision == "int8":
            if spec.int8 is None:
                raise BundleError(
                    f"the model {name} has no int8 graph; make a bundle that has one: geoseg models quantize"
                )
            return self.folder / INT8_NAMES[0]
        if spec.graph is None:
            raise BundleError(
                f"the model {name} has no graph; make a bundle that has one: geoseg models graph {name}"
            )
        return self.folder / GRAPH_NAME

    def check_graph(self, precision: Precision = "fp32") -> None:
        """Find, once per process, what would keep a graph from being computed with its weights.

        Raises:
            BundleError: there is no graph, it is altered, or the weights are.
        """
        path, spec = self.graph_path(precision), self.spec
        key = path, spec
        if key in _checked_graphs:
            return
        if precision == "int8":
            assert spec.int8 is not None, "the path is there"
            files = (spec.int8.operations, spec.int8.weights)
            for name, file in zip(INT8_NAMES, files, strict=True):
                check_file(self.folder / name, file.sha256)
        else:
            assert spec.graph is not None, "the path is there"
            check_graph(path, spec.graph.sha256, WEIGHTS_NAME)
            check_weights(self.folder / WEIGHTS_NAME, spec.sha256)
        _checked_graphs.append(key)


def shipped_bundles() -> dict[str, Path]:
    """Folders of the bundles that come with geoseg, by name."""
    root = Path(str(files("geoseg"))) / "bundles"
    found = sorted(root.glob(f"*/{ITEM_NAME}")) if root.is_dir() else []
    return {item.parent.name: item.parent for item in found}


def load_bundle(name_or_path: str | Path) -> Bundle:
    """Read a bundle's contract; the weights are read when its network is asked for.

    Args:
        name_or_path: a shipped bundle's name, or the path of a bundle's folder or ``item.json``. A bare word
            that is both is the shipped one; write ``./word`` for the folder.

    Raises:
        BundleError: no such bundle, or no contract that geoseg reads.
    """
    shipped = shipped_bundles()
    if isinstance(name_or_path, str) and name_or_path in shipped:
        path = shipped[name_or_path]
    else:
        path = Path(name_or_path).expanduser().absolute()
        if not path.exists():
            hint = did_you_mean(str(name_or_path), shipped)
            known = f"geoseg ships {listed(shipped)}" if shipped else "geoseg ships none"
            raise BundleError(
                f"no model {str(name_or_path)!r}: {known} (geoseg models list); else give the path of a "
                f"bundle's folder{hint}"
            )
    item = path / ITEM_NAME if path.is_dir() else path
    return Bundle(from_item(read_item(item), str(item)), item.parent)


def save_bundle(folder: Path, spec: BundleSpec, network: Network, *, graph: bool = True) -> Bundle:
    """Write a network's weights and its graph, then the contract that names their hashes.

    Args:
        folder: made when absent; a bundle in it is replaced.
        spec: the contract; its ``weights`` are filled in here.
        network: float32; auxiliary heads that the contract's arguments do not name are left out.
        graph: write one, which takes seconds; without it only torch computes the bundle.

    Raises:
        BundleError: the network is not the one that the contract describes, or holds NaN or infinity.
        OutputError: the folder cannot be written.
    """
    import torch  # noqa: PLC0415 - see the module's docstring

    from geoseg.models.cost.memory import counted  # noqa: PLC0415 - of no use to a bundle that is read

    expected = _skeleton(spec)
    wanted = set(expected.state_dict())
    state = {
        key: value.detach().cpu().numpy()
        for key, value in network.state_dict().items()
        if key in wanted or not key.startswith("auxiliary.")
    }
    _same_logits(network, _filled(expected, state, f"the network given for {spec.name}"), spec)
    sha256, size = write_weights(folder / WEIGHTS_NAME, state)
    weights = WeightsFile(
        sha256=sha256,
        size=size,
        parameters=sum(parameter.numel() for parameter in expected.parameters()),
        created=datetime.now(UTC).replace(microsecond=0),
        geoseg=__version__,
        torch=str(torch.__version__),
    )
    saved = spec.model_copy(update={"weights": weights})
    saved = saved.model_copy(update={"counted": counted(saved), "graph": None})
    write_json(folder / ITEM_NAME, to_item(saved))
    bundle = load_bundle(folder / ITEM_NAME)
    return graphed_bundle(bundle, folder) if graph else bundle


def graphed_bundle(bundle: Bundle, folder: Path) -> Bundle:
    """Write a copy of a bundle that has a graph, or give the bundle one where the folder is its own.

    Raises:
        BundleError: the weights are missing or altered, or the network cannot be exported.
        OutputError: the folder cannot be written.
    """
    weights = folder / WEIGHTS_NAME
    if folder != bundle.folder:
        copy_weights(bundle.folder / WEIGHTS_NAME, bundle.spec.sha256, weights)
    network = copy.deepcopy(bundle.network())
    sha256, size = write_graph(folder / GRAPH_NAME, make_graph(network, bundle.spec, weights))
    spec = bundle.spec.model_copy(update={"graph": GraphFile(sha256=sha256, size=size)})
    write_json(folder / ITEM_NAME, to_item(spec))
    return load_bundle(folder / ITEM_NAME)


def changed_bundle(bundle: Bundle, changes: Mapping[str, Any], folder: Path) -> Bundle:
    """Write a copy of a bundle with other fields in its contract; a bundle in the folder is replaced.

    The network, and what it takes and gives, stay what they are.

    Raises:
        BundleError: the weights are missing or altered, or the fields do not fit the model.
        OutputError: the folder cannot be written.
    """
    item = to_item(bundle.spec.model_copy(update=changes))
    from_item(item, f"the {listed(changes)} of {bundle.spec.name}")
    if folder.absolute() != bundle.folder:
        copy_weights(bundle.folder / WEIGHTS_NAME, bundle.spec.sha256, folder / WEIGHTS_NAME)
        graph, int8 = bundle.spec.graph, bundle.spec.int8
        files = [] if graph is None else [(GRAPH_NAME, graph)]
        if int8 is not None and "int8" not in changes:
            files += zip(INT8_NAMES, (int8.operations, int8.weights), strict=True)
        for name, file in files:
            copy_graph(bundle.folder / name, file.sha256, folder / name)
    write_json(folder / ITEM_NAME, item)
    return load_bundle(folder / ITEM_NAME)


def _same_logits(network: Network, twin: Network, spec: BundleSpec) -> None:
    """Catch arguments that change what a network does but not what its weights look like."""
    import torch  # noqa: PLC0415 - see the module's docstring

    image = torch.randn(1, network.bands, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        given = cast("Tensor", copy.deepcopy(network).cpu().eval()(image))
        saved = cast("Tensor", twin(image))
    # Another memory layout sums in another order: equal but for rounding. NaN is refused when it is written.
    if not torch.allclose(
        given, saved, rtol=1e-3, atol=1e-3 * float(given.abs().nan_to_num().max()), equal_nan=True
    ):
        raise BundleError(
            f"the network given for {spec.name} computes something else than {spec.architecture} with "
            f"{json.dumps(spec.arguments):.200}; give the arguments that it was built with"
        )


def _skeleton(spec: BundleSpec) -> Network:
    """The architecture without memory for its weights, checked against the contract."""
    import torch  # noqa: PLC0415 - see the module's docstring

    from geoseg.models.networks.registry import build  # noqa: PLC0415 - it imports torch

    with torch.device("meta"):
        network = build(spec.architecture, **cast("dict[str, Any]", spec.arguments))
    for name, stated, value in (
        ("alignment", spec.alignment, network.alignment),
        ("radius", spec.receptive_field_radius, network.receptive_field_radius),
    ):
        if stated != value:
            raise BundleError(
                f"the contract of {spec.name} has the {name} {stated} but {spec.architecture} with "
                f"{json.dumps(spec.arguments):.200} has {value}; correct it and save the bundle again"
            )
    return network


def _filled(network: Network, arrays: Mapping[str, Any], source: str) -> Network:
    """A skeleton with its weights, ready to predict.

    The skeleton has no memory of its own: a hostile contract allocates no more than its weights file holds.
    """
    import torch  # noqa: PLC0415 - see the module's docstring

    _same_shapes(source, arrays, network.state_dict())
    network.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()}, strict=True, assign=True)
    # Channels last is 1.3 to 1.5 times as fast on CPUs (Micro-Net, MiniNet).
    network = network.to(memory_format=cast("Any", torch.channels_last))
    return network.requires_grad_(requires_grad=False).eval()


def _same_shapes(source: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    missing = [key for key in wanted if key not in found]
    unknown = [key for key in found if key not in wanted]
    for keys, verb in ((missing, "lacks"), (unknown, "has an unknown")):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise BundleError(
                f"{source} {verb} tensor {keys[0]!r}{more}; architecture and arguments of the contract "
                "belong to other weights"
            )
    for key, value in wanted.items():
        shape, dtype = tuple(found[key].shape), str(found[key].dtype)
        if shape != tuple(value.shape) or dtype != str(value.dtype).removeprefix("torch."):
            raise BundleError(
                f"{source}: tensor {key!r} is {dtype} {shape}, the network needs "
                f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
            )
