"""What a caller tells PyTorch is no matter of the parts that are checked, or of what an assembly costs."""

import pytest
import torch

from tests.testing.broken.modules import Sound
from zoo import cost
from zoo.devices import set_aside
from zoo.registry import Registry, part
from zoo.report.comparison import cost_of
from zoo.testing import check_assemblies, check_part
from zoo.testing.conformance import checks_of, entries_of

AROUND = {
    "device": lambda: torch.device("meta"),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}
FEW = ["backbone.depth=2"]
LAWS = ("initialises_whole", "keeps_dtype", "gradient_reaches_parameters", "runs_under_autocast", "compiles_whole")


def told():
    """What PyTorch is told here."""
    flags = (torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled())
    return (*flags, torch.get_default_dtype(), torch.empty(0).device)


@part("time_embedder", "sound")
class Same(Sound):
    """Right, whatever is told around it."""


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_what_is_told_around_the_laws_changes_nothing(around):
    expected = cost("digits_dit", FEW)
    with around():
        before = told()
        check_part(Same, laws=LAWS, examples=3)
        laws = ("gradient_reaches_all", "keeps_dtype_and_shape")
        check_assemblies(Registry().with_parts([Same]), laws=laws, time_embedder="sound", examples=1)
        next(iter(checks_of(entries_of([Same])))).run("")
        assert cost("digits_dit", FEW) == expected
        assert cost_of(expected.assembly).macs == expected.macs
        assert told() == before


def test_a_default_is_set_aside_and_comes_back():
    usual = told()
    try:
        torch.set_default_device("meta")
        torch.set_default_dtype(torch.float64)
        other = told()
        with set_aside():
            assert told() == usual
        assert told() == other
        check_part(Same, laws=LAWS, examples=3)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
