"""Features of an Inception network: those that papers' FID is of."""

from __future__ import annotations

import hashlib
import io
from functools import cached_property
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from pydantic import Field
from torch import Tensor

from zoo.evaluate.base import FeatureSet
from zoo.evaluate.network_file import FeaturesOfFile
from zoo.registry import part
from zoo.signature import PathText

SWITCHES = {"return_features", "no_output_bias"}
"""Arguments of NVIDIA's file, by which it is told from others."""

GET = (
    "NVIDIA's is at https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt:"
    " download it, and set evaluate.features.file to inception-2015-12-05.pt"
)
"""What to do where there is no file."""


class Network(NamedTuple):
    """A module that has been read, whether it takes NVIDIA's switches, and the hash of its file."""

    module: Any
    has_switches: bool
    sha256: str


class Outputs(NamedTuple):
    """What a network gives: features [n, D], those that keep places [n, ...], and class probabilities [n, K]."""

    pooled: Float[Tensor, "n D"]
    spatial: Float[Tensor, "n ..."] | None
    probabilities: Float[Tensor, "n K"]


@part("features", "inception")
class InceptionFeatures(FeaturesOfFile):
    """Features of an Inception network in a TorchScript file of your own.

    With the right file, they are those that papers' FID is of; that FID is theirs only beside the same real images.

    The file is one of two, of which both take RGB pictures [n, 3, H, W], 8-bit, of any size; grey ones are repeated
    to RGB.

    1. NVIDIA's ``inception-2015-12-05.pt``, that the metrics of StyleGAN and EDM use. It resizes pictures to 299 x 299
       itself. ``return_features=True`` gives ``pooled`` [n, 2048]; ``no_output_bias=True`` gives the ``probabilities``
       [n, 1008] that Inception Scores are customarily of. It has no spatial features, so sFID cannot be told from it.
    2. Any other module that returns (pooled [n, D], spatial [n, ...], logits [n, K]), as a tuple or a NamedTuple.
       ``spatial`` has no elements where there are none. ADM's sFID is of the first 7 channels of a convolution in
       ``mixed_6``, 17 x 17 each: which ones these are, and the resizing, is the business of who exports the module.

    A TorchScript file is a program: use only one that you trust.

    Options:
        file: the TorchScript file; a recipe may leave it out, and `--set evaluate.features.file=...` give it.
        batch: pictures that go through the network at once.
    """

    get = GET

    def __init__(self, *, file: PathText | None = None, batch: Annotated[int, Field(ge=1)] = 64) -> None:
        super().__init__(file, batch)

    @torch.no_grad()
    def of(self, images: UInt8[np.ndarray, "n H W C"], labels: Int[np.ndarray, " n"] | None) -> FeatureSet:
        """``pooled`` and ``probabilities``, and ``spatial`` where the module gives it.

        Raises:
            DataError: the file is missing, is no TorchScript, or gives something else.
        """
        self._network.module.to(self._device)
        batches = [images[first : first + self.batch] for first in range(0, len(images), self.batch)]
        found = [self._outputs(_rgb(each).to(self._device)) for each in batches]
        pooled, spatial, probabilities = zip(*found, strict=True)
        return FeatureSet(
            _rows(pooled),
            labels,
            spatial=None if spatial[0] is None else _rows(spatial),
            probabilities=_rows(probabilities),
        )

    def _sha256(self) -> str:
        return self._network.sha256

    @cached_property
    def _network(self) -> Network:
        self.check()
        try:
            content = self._path.read_bytes()
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}") from error
        try:
            module: Any = torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]
            arguments = {each.name for each in module.forward.schema.arguments}
        except (RuntimeError, AttributeError) as error:  # an AttributeError of a module without a forward pass
            problem = f"is no TorchScript module, or one that is damaged: {str(error).splitlines()[0]}"
            raise self._error(f"{problem}; give a file that torch.jit.save wrote") from error
        return Network(module.eval(), arguments >= SWITCHES, hashlib.sha256(content).hexdigest())

    def _outputs(self, pictures: UInt8[Tensor, "n 3 H W"]) -> Outputs:
        module, has_switches, _ = self._network
        try:
            if has_switches:
                found = Outputs(module(pictures, return_features=True), None, module(pictures, no_output_bias=True))
            else:
                found = self._from_tuple(module(pictures))
        except (RuntimeError, torch.jit.Error) as error:
            reason = str(error).strip().splitlines()[-1][:200]
            raise self._error(f"fails on pictures of shape {list(pictures.shape)}, torch.uint8: {reason}") from error
        for name, tensor in found._asdict().items():
            if tensor is not None:
                self._check(name, tensor, len(pictures))
        return found

    def _from_tuple(self, found: Any) -> Outputs:
        tensors = isinstance(found, tuple) and all(isinstance(each, Tensor) for each in found)
        if not tensors or len(found) != len(Outputs._fields):
            raise self._error(
                f"returns {type(found).__name__}, and should return three tensors (pooled, spatial, logits), or take"
                " return_features and no_output_bias; export it so"
            )
        pooled, spatial, logits = found
        return Outputs(pooled, spatial if spatial.numel() else None, logits.float().softmax(dim=-1))

    def _check(self, name: str, tensor: Tensor, n: int) -> None:
        fits = tensor.ndim >= 2 if name == "spatial" else tensor.ndim == 2
        if not fits or len(tensor) != n or not tensor.numel():
            wanted = f"[{n}, ...]" if name == "spatial" else f"[{n}, features]"
            raise self._error(f"gives {name} of shape {list(tensor.shape)} in place of {wanted}; export it so")
        if not tensor.isfinite().all():
            raise self._error(f"gives {name} that are not finite for 8-bit pictures; take another file")


def _rgb(images: UInt8[np.ndarray, "n H W C"]) -> UInt8[Tensor, "n 3 H W"]:
    return torch.tensor(images).movedim(-1, 1).expand(-1, 3, -1, -1).contiguous()


def _rows(parts: tuple[Tensor, ...]) -> Float[np.ndarray, "n D"]:
    return torch.cat([part.float().flatten(1).cpu() for part in parts]).numpy()
