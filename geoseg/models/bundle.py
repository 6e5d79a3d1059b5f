"""Bundles: a contract and its weights, found by name or path, loaded once per process.

torch is imported when a network is asked for, not before: checking a workflow against a model needs only the
contract.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from geoseg.config.model.contract import BundleSpec
from geoseg.config.model.mlm import GRAPH_NAME, INT8_NAMES, WEIGHTS_NAME, from_item
from geoseg.errors import BundleError
from geoseg.io.weights import (
    check_file,
    check_graph,
    check_weights,
    read_item,
    read_weights,
)
from geoseg.models.runtime import Precision
from geoseg.words import did_you_mean, listed

if TYPE_CHECKING:
    from geoseg.models.networks.network import Network

__all__ = ["ITEM_NAME", "Bundle", "empty_network", "filled", "load_bundle", "shipped_bundles"]

ITEM_NAME = "item.json"

_networks: dict[str, Network] = {}
_networks_lock = threading.Lock()
_checked: set[tuple[Path, str]] = set()
"""Files that were found to have a sha256, by this process."""
_checked_lock = threading.Lock()


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
                path, empty = self.folder / WEIGHTS_NAME, empty_network(self.spec)
                _networks[key] = filled(empty, read_weights(path, self.spec.sha256), str(path))
                _checked.add((path, self.spec.sha256))
            return _networks[key]

    def check(self) -> None:
        """Find what would keep the network from being computed; without torch where the bundle is as saved.

        Each file is hashed once per process, here or where it is first used.

        Raises:
            BundleError: as :meth:`network` and, of each graph that the contract names, :meth:`check_graph`.
        """
        if self.spec.is_as_saved:
            _check_once(self.folder / WEIGHTS_NAME, self.spec.sha256, check_weights)
        else:
            self.network()
        if self.spec.graph is not None:
            self.check_graph()
        if self.spec.int8 is not None:
            self.check_graph("int8")

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
        if precision == "int8":
            assert spec.int8 is not None, "the path is there"
            files = (spec.int8.operations, spec.int8.weights)
            for name, file in zip(INT8_NAMES, files, strict=True):
                _check_once(self.folder / name, file.sha256, check_file)
        else:
            assert spec.graph is not None, "the path is there"
            _check_once(path, spec.graph.sha256, partial(check_graph, weights=WEIGHTS_NAME))
            _check_once(self.folder / WEIGHTS_NAME, spec.sha256, check_weights)


def _check_once(path: Path, sha256: str, check: Callable[[Path, str], None]) -> None:
    with _checked_lock:
        if (path, sha256) not in _checked:
            check(path, sha256)
            _checked.add((path, sha256))


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


def empty_network(spec: BundleSpec) -> Network:
    """A contract's architecture without memory for its weights; BundleError where the two do not agree."""
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


def filled(network: Network, arrays: Mapping[str, Any], source: str) -> Network:
    """An empty network with its weights, ready to predict; BundleError where they are not those it needs.

    Empty, it has no memory of its own: a hostile contract allocates no more than its weights file holds.
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
