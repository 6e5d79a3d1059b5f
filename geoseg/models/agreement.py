"""Whether what else computes a network agrees with torch: trial images, and how far results may differ."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from geoseg.config.model.contract import BundleSpec
from geoseg.errors import BundleError
from geoseg.models.backends.openvino import compiled
from geoseg.models.graph import least_side
from geoseg.models.networks.network import Network
from geoseg.models.runtime import Runtime, intra_op_threads

__all__ = ["TOLERANCE", "agree", "check_graph_computes", "trial_images"]

TOLERANCE = 1e-4
"""Largest difference from torch: of probabilities, and of logits relative to the largest."""

_WITHOUT_DATA = 0.02  # share of their pixels that has no data


def trial_images(spec: BundleSpec, tile: int | None = None) -> list[Tensor]:
    """Images to compare on, float32 (N, bands, H, W): noise as of scaled scenes, some pixels without data.

    Args:
        tile: side of all of them, in pixels. None: three sizes, multiples of the alignment.
    """
    side = least_side(spec)
    shapes = (
        [(1, tile, tile), (3, tile, tile)]
        if tile
        else [(1, side, side), (3, 5 * side, 2 * side), (2, 4 * side, 7 * side)]
    )
    random = torch.Generator().manual_seed(0)
    images = []
    for batch, height, width in shapes:
        coarse = torch.randn(batch, len(spec.bands), height // 8 + 2, width // 8 + 2, generator=random)
        image = nn.functional.interpolate(coarse, (height, width), mode="bilinear")
        image += 0.3 * torch.randn(image.shape, generator=random)
        images.append(image * (torch.rand(batch, 1, height, width, generator=random) > _WITHOUT_DATA))
    return images


def agree(
    expected: Tensor, found: Tensor, *, what: Literal["logits", "probabilities"], of: str, todo: str
) -> float:
    """Largest difference of results from torch's, both (N, K, H, W); of logits relative to the largest.

    Args:
        expected: torch's.
        of: what computed the others; with ``todo``, what to do about a difference, the error's sentence.

    Raises:
        BundleError: it is more than :data:`TOLERANCE`.
    """
    size = (float(expected.abs().max()) or 1.0) if what == "logits" else 1.0
    same_shape = expected.shape == found.shape
    difference = float((expected - found).abs().max()) / size if same_shape else torch.inf
    if not difference <= TOLERANCE:  # NaN is not either
        relative = " of the largest" if what == "logits" else ""
        raise BundleError(
            f"{of} gives other {what} than torch, by {difference:.2g}{relative} on an image of shape "
            f"{tuple(expected.shape)} ({TOLERANCE:g} is allowed); {todo}"
        )
    return difference


def check_graph_computes(network: Network, spec: BundleSpec, graph: Path, todo: str) -> float:
    """Compare what OpenVINO computes of a graph, in fp32, with the network in torch.

    Args:
        network: in evaluation mode, on the CPU.
        graph: its file; the weights lie beside it.
        todo: what to do about a difference, the end of the error's sentence.

    Returns:
        Largest difference of a logit, relative to the largest logit.

    Raises:
        BundleError: it is more than :data:`TOLERANCE`.
    """
    runtime, of = Runtime.resolve("cpu", "fp32", backend="openvino"), f"the graph of {spec.name} in OpenVINO"
    largest = 0.0
    with intra_op_threads(1), torch.inference_mode():
        for image in trial_images(spec):
            expected = cast("Tensor", network(image))
            result = compiled(graph, tuple(image.shape), runtime)(image.numpy())
            found = torch.from_numpy(np.array(result[0]))
            largest = max(largest, agree(expected, found, what="logits", of=of, todo=todo))
    return largest
