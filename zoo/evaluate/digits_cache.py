"""Where the digits network is kept, so that it is trained once on a machine."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from zoo.data.fingerprint import sha256_of
from zoo.errors import WeightsError
from zoo.evaluate.digits_network import DigitsNetwork, Training, train_network
from zoo.files import safetensors, write_whole
from zoo.mapped import named_in_text

HASH = "sha256"


def cached_network(training: Training) -> DigitsNetwork:
    """The trained network: from the cache if it is there and sound, else trained, and put there if that can be done."""
    file = cache_file(training)
    try:
        return _read(file)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        warnings.warn(f"{file}: cannot be used, and is made anew: {reason}", stacklevel=2)
    network = train_network(training)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        tensors = network.state_dict()
        write_whole(file, safetensors(tensors, {HASH: sha256_of(tensors)}), WeightsError)
    except (OSError, WeightsError) as error:
        warnings.warn(f"the digits network is trained anew every time: {error}", stacklevel=2)
    return network


def cache_file(training: Training) -> Path:
    """Where a network is kept: ``zoo`` in the folder that XDG_CACHE_HOME names, or in ``~/.cache``."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    made_by = json.dumps({**asdict(training), "torch": torch.__version__}, sort_keys=True)
    return folder / "zoo" / f"digits-network-{hashlib.sha256(made_by.encode()).hexdigest()[:16]}.safetensors"


def _read(file: Path) -> DigitsNetwork:
    file.stat()  # safetensors tells a missing file in words of its own
    with named_in_text(file) as named, safe_open(named, "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
        wanted = (opened.metadata() or {}).get(HASH)
    if sha256_of(tensors) != wanted:
        raise ValueError("its SHA-256 differs")
    with torch.device("meta"):  # where initialising draws no random numbers
        network = DigitsNetwork()
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)
