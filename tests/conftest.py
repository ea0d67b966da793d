"""What every test finds, whatever the machine, the caller's shell and the tests that ran before in the process.

Shapes in annotations are checked where tests vary them, and an audit is made once where tests are about other things;
no curve of the loss is drawn at the end of a run.
PyTorch has one thread here and in every process that a test starts, since pytest-xdist fills the cores, unless
OMP_NUM_THREADS says otherwise. Global random generators start anew with every fixture and every test. SIGHUP is heeded,
also under nohup, and SIGINT, also in the background of a shell; no test finds a signal ignored by one before it.
Hypothesis draws the same examples every time, or with ``--hypothesis-seed N`` those of N.
"""

import gc
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):  # what the output of commands would depend on
    os.environ.pop(name, None)
for number, heeded in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, heeded)
HANDLERS = {
    number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
}
"""Of every test: a command that has stopped and saved ignores signals to the end of the process, which goes on here."""

from jaxtyping import config, install_import_hook

# Before the modules are imported. torch.compile can trace what they check in functions once that is off, but nothing
# that makes a dataclass: of these those of zoo.parts.values are made in forward.
HERE = Path(__file__).parent
ROOM = HERE.parent / "zoo" / "parts"
PARTS = [f"zoo.parts.{path.stem}" for path in ROOM.glob("*.py") if path.stem != "values"]
install_import_hook([*PARTS, "zoo.backbone", "zoo.flow", "zoo.data", "zoo.labels"], "beartype.beartype")

import hypothesis
import numpy as np
import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from hypothesis import HealthCheck, settings

from tests.dealing import dealt
from tests.once import ROOMS, Once, draw_no_curve, made_once
from tests.train.small import train
from zoo.registry import Registry

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # of which PyTorch takes no more than there are cores

settings.register_profile(
    "zoo", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("seeded", settings.get_profile("zoo"), derandomize=False, print_blob=True)
settings.load_profile("zoo")


UNCHECKED = {
    "assembly", "audit", "cli", "distributed", "evaluate", "faults", "optim", "plan", "plugins", "recipe", "report",
    "runs", "sampling", "scaffold", "strangers", "tools", "train", "weights",
    "test_assemblies.py", "test_conformance.py", "test_options_laws.py", "test_page_examples.py", "test_pages.py",
    "test_recipes.py", "test_right_losses.py", "test_right_parts.py", "test_set_aside.py", "test_strategies.py",
}  # fmt: skip
"""Rooms of tests, and files, whose shapes are those of a few recipes, or of parts whose laws are checked elsewhere too,
where to check them takes a third of the time or more."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before the fixtures of the test, and of its module."""
    for number, handler in HANDLERS.items():
        signal.signal(number, handler)
    rooms = set(item.path.parts[len(HERE.parts) :])
    config.update("jaxtyping_disable", not rooms.isdisjoint(UNCHECKED))
    Once.is_on = not rooms.isdisjoint(ROOMS)


@pytest.fixture(scope="session", autouse=True)
def audits_once() -> Iterator[None]:
    draw_no_curve()
    with made_once():
        yield


@pytest.fixture(scope="session", autouse=True)
def unchecked_traces() -> Iterator[None]:
    """In a trace every size that a check of shapes asks for is an operator: two thirds of the time of an audit."""
    count = FlopCountAnalysis.by_module_and_operator

    def unchecked(analysis: FlopCountAnalysis) -> Any:
        before = config.jaxtyping_disable
        config.update("jaxtyping_disable", True)
        try:
            return count(analysis)
        finally:
            config.update("jaxtyping_disable", before)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FlopCountAnalysis, "by_module_and_operator", unchecked)
        yield


def pytest_xdist_auto_num_workers() -> int:
    """Of ``-n auto``: one more than cores, since a third of the time a test waits for a disk or for processes."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return len(cores) + 1


def pytest_configure(config: pytest.Config) -> None:
    """Before any test is collected, since ``@given`` keeps the profile that it finds."""
    if config.getoption("--hypothesis-seed") is not None:
        settings.load_profile("seeded")
    gc.disable()  # until all modules are imported and all tests are there


@pytest.hookimpl(trylast=True)  # of what is left to run
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under pytest-xdist the tests that may take longest begin first, so that no worker is left with one at the end."""
    if hasattr(config, "workerinput"):
        items[:] = dealt(items, config.workerinput["workercount"], float(config.getini("timeout")))


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: the garbage collector need not look through them, again and again."""
    gc.freeze()
    gc.enable()


def forget_what_was_drawn() -> None:
    """Let global generators draw the same numbers, whatever ran before."""
    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    forget_what_was_drawn()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    forget_what_was_drawn()


@pytest.fixture(scope="session")
def registry() -> Registry:
    """The built-in parts, whatever else is installed."""
    return Registry()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of tests.train.small in three steps, with checkpoints at 2 and 3; to be read alone."""
    return train(tmp_path_factory.mktemp("runs") / "small").path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of ``trained``, or of the run that a module calls so."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def drawn_as_ever(monkeypatch):
    """What the kit draws where no seed is given: whether it catches a broken part may not hang on the commit's."""
    monkeypatch.setattr(hypothesis.core, "global_force_seed", None)
