"""What every part with a forward pass has, whatever its kind.

Facts by name are what parts ask of each other; ``zoo.parts.facts`` says where they do not go together.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from zoo.parts.values import Declared
from zoo.schedule import AXES


class ModulePart(nn.Module):
    """A part with a forward pass.

    Every module in it that owns a parameter or a buffer has ``reset_parameters()``, which fills them in place and is
    called in the constructor. PyTorch's own modules have one. Building on the meta device allocates nothing, and what
    makes weights and tables afterwards (``Backbone.init_weights``) calls each of them, members before what holds them.
    Tensors stand in parameters and buffers alone. An assembly with a part that breaks this is refused.

    What a part asks of the rest of an assembly are facts by name, in sets that a constructor may set by the part's
    options; a part has those of the parts inside it too. The facts are ``rotary`` (angles), ``context``, ``label`` (a
    vector of it), ``vectors`` (of the modulation), ``kept`` (what left a patch on the way down), ``prefix`` (tokens in
    front) and ``subset`` (image tokens of which some are left out, by a router). What is none of these, or of another
    type, is refused: of the class when it is registered, of a part when it is built.

    Attributes:
        needs: facts that must be given by some part.
        uses: facts that it takes where they are given.
        gives: facts that it gives.
        refuses: facts that it cannot stand.
        axes: numbers of axes of the latents that it takes.
    """

    kind: ClassVar[str]
    needs: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()
    gives: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    axes: frozenset[int] = frozenset(AXES)

    def __init__(self) -> None:
        super().__init__()  # of PyTorch's, which takes *args, as no part does: one without options need write none

    def declare(self, *inputs: Any) -> Declared | None:
        """The part's own count, for parts that cannot trace on the meta device (scans, kernels of other libraries).

        Args:
            inputs: those of ``forward``, on the meta device.

        Returns:
            An output of the right shape (that of ``forward``, where it runs on the meta device) with the multiply-adds
            for these inputs; or None, if fvcore is to trace the part itself. ``zoo.testing`` holds both against what
            runs on a CPU.
        """
        return None

    def without_gradient(self) -> frozenset[str]:
        """Names of parameters whose gradient is zero by construction, whatever the loss."""
        return frozenset()


def stage_by_stage(cls: type[Any], base: type[Any]) -> None:
    """Let a class have the ``forward`` of its base, a loop over ``forward_stage``, where the latter is said anew.

    It may derive from one whose ``forward`` does otherwise, and what it, or a mixin in front, says would not be heard.
    """
    for own in map(vars, cls.__mro__):
        if "forward" in own:
            return
        if "forward_stage" in own:
            cls.forward = base.forward
            return
