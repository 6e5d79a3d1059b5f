"""Bundles are written: weights and graph, then the contract that names their hashes.

torch is imported when a network is saved or exported; copying a bundle needs none.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from geoseg._version import __version__
from geoseg.config.model.contract import BundleSpec, GraphFile, WeightsFile
from geoseg.config.model.mlm import GRAPH_NAME, INT8_NAMES, WEIGHTS_NAME, from_item, to_item
from geoseg.errors import BundleError
from geoseg.io.files import write_json
from geoseg.io.weights import copy_graph, copy_weights, write_graph, write_weights
from geoseg.models.bundle import ITEM_NAME, Bundle, empty_network, filled, load_bundle
from geoseg.models.graph import make_graph
from geoseg.words import listed

if TYPE_CHECKING:
    from torch import Tensor

    from geoseg.models.networks.network import Network

__all__ = ["changed_bundle", "graphed_bundle", "save_bundle"]


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

    expected = empty_network(spec)
    wanted = set(expected.state_dict())
    state = {
        key: value.detach().cpu().numpy()
        for key, value in network.state_dict().items()
        if key in wanted or not key.startswith("auxiliary.")
    }
    _same_logits(network, filled(expected, state, f"the network given for {spec.name}"), spec)
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

    The graph is kept only if OpenVINO computes of it what torch computes of the network.

    Raises:
        BundleError: the weights are missing or altered, the network cannot be exported, or its graph computes
            something else.
        OutputError: the folder cannot be written.
    """
    from geoseg.models.agreement import check_graph_computes  # noqa: PLC0415 - it imports torch

    spec, weights = bundle.spec, folder / WEIGHTS_NAME
    if folder.absolute() != bundle.folder:
        copy_weights(bundle.folder / WEIGHTS_NAME, spec.sha256, weights)
        _copy_int8(bundle, folder)

    def verify(graph: Path) -> None:
        check_graph_computes(bundle.network(), spec, graph, "it was not kept; report this")

    data = make_graph(copy.deepcopy(bundle.network()), spec, weights)
    sha256, size = write_graph(folder / GRAPH_NAME, data, verify)
    write_json(
        folder / ITEM_NAME, to_item(spec.model_copy(update={"graph": GraphFile(sha256=sha256, size=size)}))
    )
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
        if bundle.spec.graph is not None:
            copy_graph(bundle.folder / GRAPH_NAME, bundle.spec.graph.sha256, folder / GRAPH_NAME)
        if "int8" not in changes:
            _copy_int8(bundle, folder)
    write_json(folder / ITEM_NAME, item)
    return load_bundle(folder / ITEM_NAME)


def _copy_int8(bundle: Bundle, folder: Path) -> None:
    int8 = bundle.spec.int8
    if int8 is not None:
        for name, file in zip(INT8_NAMES, (int8.operations, int8.weights), strict=True):
            copy_graph(bundle.folder / name, file.sha256, folder / name)


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
