"""From plain values to the YAML text of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


def to_yaml(values: Mapping[str, Any]) -> str:
    """A recipe that ``read_tree`` reads as the same values."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120)


class _Dumper(yaml.SafeDumper):
    """Puts text in quotes that PyYAML would leave without, and that YAML 1.2 reads as a number: 1e3."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    like_number = text[:1].isdigit() or text[:1] in ("+", "-", ".")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if like_number else None)


_Dumper.add_representer(str, _represent_text)
