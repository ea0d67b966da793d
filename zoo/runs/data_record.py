"""What a checkpoint holds of the data that a run is trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zoo.data.fingerprint import Fingerprint
from zoo.errors import RunError


def record(data: Fingerprint) -> dict[str, Any]:
    """What a checkpoint holds of a fingerprint, as plain values: ``data``, and the names of ``classes``."""
    values = data.model_dump(mode="json")
    return {"classes": values.pop("classes"), "data": values}


def read(state: Mapping[str, Any], where: Path) -> Fingerprint:
    """The fingerprint that a checkpoint holds.

    Raises:
        RunError: it is not what zoo wrote.
    """
    try:
        return Fingerprint.model_validate_json(json.dumps({**state["data"], "classes": state["classes"]}))
    except (ValidationError, KeyError, TypeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        raise RunError(f"{where}: what state.json says of the data cannot be used: {reason}") from error
