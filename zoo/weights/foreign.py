"""Checkpoints that others wrote: pickles and safetensors, whose tensors stay on the disk until they are used."""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from zoo.errors import WeightsError, ZooError, listed, with_article
from zoo.files import did_you_mean_file
from zoo.mapped import named_in_text
from zoo.recipe.averages import average_named
from zoo.weights.pickles import damaged, read_pickle
from zoo.weights.state import DTYPES, Which, without_prefixes

AVERAGED, LAST = "ema", "model"
"""The weights of a training checkpoint."""

SHOWN = 20


@dataclass(frozen=True)
class ForeignCheckpoint:
    """The weights of a checkpoint.

    Attributes:
        path: of the file.
        tensors: by key, without the prefixes of DDP and torch.compile.
        weights: ``ema`` or ``model`` of a training checkpoint; empty where the file holds nothing else.
        model: the model's name in a training checkpoint's settings, such as ``SiT-XL/2``; may be empty.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    weights: str
    model: str = ""


def read_checkpoint(path: Path, *, weights: Which = "ema") -> ForeignCheckpoint:
    """Open a checkpoint.

    Args:
        path: a pickle of ``torch.save``, or a safetensors file.
        weights: of a training checkpoint, the averaged ones or the last (``raw``).

    Raises:
        WeightsError: there is no such file, it is damaged, needs code to be loaded, or holds no weights.
        ZooError: another average is asked for, of which it holds one at most; or no such weights.
    """
    if average_named(weights) is not None:
        raise ZooError(f"{path}: no checkpoint but a run's says what its averages are; take --weights ema, or raw")
    content = _read(path)
    name, state = _chosen(path, content, weights)
    _check_tensors(path, state)
    return ForeignCheckpoint(path, without_prefixes(state, path), name, _model_of(content))


def _read(path: Path) -> Any:
    if os.path.isdir(path):  # not Path.is_dir, which raises where a name is too long
        raise WeightsError(f"{path}: is a folder; give a checkpoint file")
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # of a pipe nothing may ever come
            raise WeightsError(f"{path}: is no plain file; give a checkpoint file")
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be read: {error.strerror}{did_you_mean_file(path, (path.suffix,))}"
        ) from error
    if not start:
        raise WeightsError(f"{path}: is empty; copy or download it again")
    if start[8:9] == b"{":
        return _read_safetensors(path)
    if start.startswith(b"PK") or start[:1] == b"\x80":
        return read_pickle(path, zipped=start.startswith(b"PK"))
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path}: is a pointer of Git LFS in place of the file; run `git lfs pull`")
    if start.lstrip()[:1] == b"<":
        raise WeightsError(f"{path}: is a web page, no checkpoint; download the file itself")
    raise WeightsError(f"{path}: is neither a pickle of torch.save nor a safetensors file; is it damaged?")


def _read_safetensors(path: Path) -> Any:
    try:
        with named_in_text(path) as named:
            return load_file(named)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise damaged(path, error) from error


def _chosen(path: Path, content: Any, weights: Which) -> tuple[str, Mapping[Any, Any]]:
    """The weights of a training checkpoint, and which; or the content, if it is weights and nothing else."""
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path}: holds {with_article(type(content).__name__)}, no weights by name; give a checkpoint of"
            " torch.save or safetensors"
        )
    wrapped = [key for key in (AVERAGED, LAST) if isinstance(content.get(key), Mapping)]
    if not wrapped:
        if weights == "raw":
            raise WeightsError(f"{path}: holds one set of weights, not averaged and last ones; leave --weights raw out")
        return "", content
    wanted = AVERAGED if weights == "ema" else LAST
    if wanted not in wrapped:
        if weights == "raw":
            raise WeightsError(f"{path}: holds no {LAST!r}, only {AVERAGED!r}; leave --weights raw out to take that")
        wanted = LAST
    return wanted, content[wanted]


def _model_of(content: Mapping[Any, Any]) -> str:
    settings = content.get("args")
    values = vars(settings) if isinstance(settings, argparse.Namespace) else settings
    model = values.get("model") if isinstance(values, Mapping) else None
    return model if isinstance(model, str) else ""


def _check_tensors(path: Path, state: Mapping[Any, Any]) -> None:
    if not state:
        raise WeightsError(f"{path}: holds no weights; give a checkpoint that does")
    foreign = [f"{key} ({type(value).__name__})" for key, value in state.items() if not isinstance(value, Tensor)]
    if foreign:
        raise WeightsError(
            f"{path}: holds more than tensors: {listed(foreign, SHOWN)}; zoo looks for weights by name, or"
            f" for {AVERAGED!r} or {LAST!r} with such"
        )
    wrong = [f"{key} ({_kind_of(value)})" for key, value in state.items() if not _is_plain(value)]
    if wrong:
        raise WeightsError(
            f"{path}: weights must be plain floating point numbers, and these are not: {', '.join(wrong)}"
        )


def _is_plain(tensor: Tensor) -> bool:
    return tensor.dtype in DTYPES and tensor.layout == torch.strided and not tensor.is_meta


def _kind_of(tensor: Tensor) -> str:
    return str(tensor.dtype if tensor.dtype not in DTYPES else tensor.device if tensor.is_meta else tensor.layout)
