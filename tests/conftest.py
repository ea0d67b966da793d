"""Shapes in annotations are checked while tests run; one thread a worker, since pytest-xdist fills the cores."""

import os
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):  # what the output of commands would depend on
    os.environ.pop(name, None)

from jaxtyping import config, install_import_hook

# Before the modules are imported. torch.compile cannot trace through the checks, so its tests run in a process without.
install_import_hook(["zoo.parts", "zoo.backbone", "zoo.flow", "zoo.data"], "beartype.beartype")

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from hypothesis import HealthCheck, Phase, settings

from zoo.registry import Registry

torch.set_num_threads(1)

settings.register_profile("zoo", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "no shrinking", settings.get_profile("zoo"), phases=[Phase.explicit, Phase.generate], print_blob=False
)
settings.load_profile("zoo")


@pytest.fixture(scope="session", autouse=True)
def unchecked_traces() -> Iterator[None]:
    """In a trace every size that a check of shapes asks for is an operator: two thirds of the time of an audit."""
    count = FlopCountAnalysis.by_module_and_operator

    def unchecked(analysis: FlopCountAnalysis) -> Any:
        config.update("jaxtyping_disable", True)
        try:
            return count(analysis)
        finally:
            config.update("jaxtyping_disable", False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FlopCountAnalysis, "by_module_and_operator", unchecked)
        yield


@pytest.fixture
def no_shrinking() -> Iterator[None]:
    """For tests that expect a law to be broken: any case that breaks it will do."""
    settings.load_profile("no shrinking")
    yield
    settings.load_profile("zoo")


@pytest.fixture(scope="session")
def registry() -> Registry:
    """The built-in parts, whatever else is installed."""
    return Registry()
