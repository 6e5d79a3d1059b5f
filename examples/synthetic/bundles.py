"""Small bundles for tests: real networks with random weights, saved and loaded like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from geoseg.config.model.contract import BundleSpec, ClassSpec, DataSource, Scaling, Training
from geoseg.models.bundle import Bundle
from geoseg.models.networks.registry import build
from geoseg.models.saving import save_bundle

__all__ = ["random_bundle"]

_COLORS = ("#303030", "#d62728", "#2ca02c", "#1f77b4", "#ff7f0e")


def random_bundle(
    folder: Path,
    architecture: str = "micronet",
    *,
    bands: tuple[str, ...] = ("red", "green", "blue"),
    classes: int = 2,
    seed: int = 0,
    graph: bool = False,
    **changes: Any,
) -> Bundle:
    """Save a network with random weights as a bundle.

    Args:
        folder: where it goes.
        architecture: a registered name.
        bands: names of its bands.
        classes: number of classes; the first of two is background.
        seed: of the weights.
        graph: write a graph, too, which takes seconds; without it torch computes the bundle.
        **changes: fields of :class:`BundleSpec`, or further ``arguments`` of the architecture.
    """
    torch.manual_seed(seed)
    channels = classes + changes.get("border", False)
    arguments = {"bands": len(bands), "classes": channels, **changes.pop("arguments", {})}
    network = build(architecture, **arguments).eval()
    spec = BundleSpec(
        name="random-test",
        version="1",
        title="Random weights",
        description="For tests.",
        license="Apache-2.0",
        architecture=architecture,
        arguments=arguments,
        bands=bands,
        scaling=Scaling(mean=(110.0,) * len(bands), std=(60.0,) * len(bands)),
        value_dtype=changes.pop("value_dtype", "uint8"),
        classes=tuple(
            ClassSpec(
                id=i,
                name=f"class{i}",
                title=f"Class {i}",
                color=_COLORS[i],
                background=i == 0 and classes == 2,  # noqa: PLR2004 - two classes
            )
            for i in range(classes)
        ),
        resolution=changes.pop("resolution", 0.3),
        alignment=network.alignment,
        receptive_field_radius=network.receptive_field_radius,
        halo=changes.pop("halo", 2 * network.alignment),
        halo_agreement=0.0,
        training=Training(
            data=(DataSource(name="none", attribution="nobody", license="CC0-1.0"),),
            seed=seed,
            procedure="Random initialization.",
        ),
        **changes,
    )
    return save_bundle(folder, spec, network, graph=graph)
