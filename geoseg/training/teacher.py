"""A trained network that another one imitates."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import torch

from geoseg.errors import BundleError
from geoseg.models.bundle import Bundle, load_bundle
from geoseg.models.predictor import scaled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

__all__ = ["Teacher"]


class Teacher:
    """A bundle's network in evaluation mode, without gradients, with its own scaling."""

    def __init__(self, bundle: Bundle, device: str) -> None:
        self.spec = bundle.spec
        network = bundle.network() if device == "cpu" else copy.deepcopy(bundle.network()).to(device)
        self._network = network.requires_grad_(requires_grad=False).eval()

    @classmethod
    def load(
        cls, name_or_path: str | Path, bands: Sequence[str], classes: Sequence[str], device: str
    ) -> Teacher:
        """Load a bundle that can teach a network of these bands and classes.

        Raises:
            BundleError: no such bundle, or it has other bands or classes.
        """
        bundle = load_bundle(name_or_path)
        for what, own, wanted in (
            ("bands", bundle.spec.bands, tuple(bands)),
            ("classes", tuple(c.name for c in bundle.spec.classes), tuple(classes)),
        ):
            if own != wanted:
                raise BundleError(
                    f"distill.teacher: {bundle.spec.name} has the {what} {', '.join(own)}, this training "
                    f"{', '.join(wanted)}; a teacher needs the same ones in the same order"
                )
        return cls(bundle, device)

    @property
    def identity(self) -> str:
        """Of its weights and contract."""
        return self.spec.identity

    @torch.no_grad()
    def logits(self, pixels: Tensor, valid: Tensor) -> Tensor:
        """Float32 logits (N, K, H, W) of chips, float32 (N, C, H, W) in stored units, valid (N, H, W)."""
        image = scaled(pixels, valid, self.spec.scaling.mean, self.spec.scaling.std)
        output = self._network(image.contiguous(memory_format=cast("Any", torch.channels_last)))
        return cast("Tensor", output).float()
