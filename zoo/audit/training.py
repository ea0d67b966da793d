"""What training costs in multiply-adds."""

from __future__ import annotations

from zoo.audit.report import Audit
from zoo.flow import StagePlan


def training_macs(report: Audit, plan: StagePlan) -> int:
    """Multiply-adds of the forward and backward pass of a mean sample of a batch.

    The backward pass has twice as many as the forward pass: gradients of inputs and of weights.

    Args:
        report: what each stage costs.
        plan: which samples of a batch are in which stage.
    """
    forward = sum(count * stage.training_macs for count, stage in zip(plan.counts, report.stages, strict=True))
    return 3 * forward // plan.group
