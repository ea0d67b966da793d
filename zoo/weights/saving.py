"""Writing a backbone from Python, such as from a training loop of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from zoo.assembly import backbone_in, build, recipe_of
from zoo.backbone import Backbone
from zoo.classes import Classes
from zoo.errors import WeightsError, with_article
from zoo.weights.files import write_weights
from zoo.weights.state import mismatches, refuse_non_finite, without_prefixes

SUFFIX = ".safetensors"
SHOWN = 10
_COMPILED = re.compile(r"(^|\.)_orig_mod")


def save(
    backbone: nn.Module,
    path: str | Path,
    *,
    state: Mapping[str, Tensor] | None = None,
    classes: Sequence[str] = (),
) -> None:
    """Write a backbone's weights with its recipe: a file for ``zoo.load``, and for every command that takes weights.

    A file of that name is replaced, whole or not at all. In a job of several processes, one of them saves.

    Args:
        backbone: what ``zoo.build`` or ``zoo.load`` returned; DDP, ``torch.compile`` or ``AveragedModel`` around it
            are left out.
        path: of the file, which ends in ``.safetensors``.
        state: tensors to write in place of the backbone's own, such as ``state_dict()`` of a moving average.
        classes: what the classes are called, by label, so that ``zoo sample --labels`` takes their names.

    Raises:
        ValueError: it is no backbone, or one that was put together by hand.
        WeightsError: parts that have been exchanged by hand, tensors that do not fit the recipe or have no values here,
            or the file cannot be written.
        NumericError: weights that are not finite, which ``zoo.load`` would refuse.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise WeightsError(f"{path}: let the name end in {SUFFIX}, which is what it will be")
    inner = backbone_in(backbone)
    recipe = recipe_of(inner)
    tensors = without_prefixes(inner.state_dict() if state is None else state, path)
    tensors.pop("n_averaged", None)  # of AveragedModel
    fresh = build(recipe, device="meta")
    problems = [*_edits(inner, fresh), *mismatches(tensors, fresh.state_dict())]
    if problems:
        rest = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        reason = f"{path}: not written, since it is not what {recipe.name} builds"
        raise WeightsError(reason, [*problems[:SHOWN], *rest])
    for name, tensor in tensors.items():
        if tensor.is_meta:
            raise WeightsError(f"{path}: not written: {name} has no values; it is on the meta device")
        if isinstance(tensor, DTensor):
            raise WeightsError(
                f"{path}: not written: {name} is shared out among processes; gather the weights on all of them with"
                " torch.distributed.checkpoint.state_dict.get_model_state_dict (full_state_dict=True), and give them on"
                " one as state="
            )
    refuse_non_finite(tensors, path)
    detached = {name: tensor.detach() for name, tensor in tensors.items()}
    write_weights(path, detached, recipe, classes=Classes(tuple(classes)))


def _edits(backbone: Backbone, fresh: Backbone) -> Iterator[str]:
    """What has been done to a backbone by hand, which its recipe does not say."""
    modules = {_COMPILED.sub("", name): module for name, module in backbone.named_modules()}
    for name, module in fresh.named_modules():
        if name in modules and not isinstance(modules[name], type(module)):
            own, wanted = (with_article(type(each).__qualname__) for each in (modules[name], module))
            yield f"{name} is {own} in place of {wanted}"
    for name in ("latent", "stages", "ties", "prediction"):
        own, wanted = getattr(backbone, name), getattr(fresh, name)
        if own != wanted:
            yield f"{name} is {own!r} in place of {wanted!r}"
