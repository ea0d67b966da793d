"""The flow between data and noise: noise levels, loss, solvers and guidance."""

from __future__ import annotations

from zoo.flow.base import Draw, NoiseSampler, Solver, Velocity, Weighting
from zoo.flow.dopri5 import Dopri5Solver
from zoo.flow.euler_maruyama import EulerMaruyamaSolver
from zoo.flow.guidance import Guidance, Passes, evaluations
from zoo.flow.guided_velocity import MODULATION_BYTES, GuidedVelocity
from zoo.flow.noise_samplers import LogitNormalNoise, UniformNoise
from zoo.flow.objective import interpolate, target, velocity_errors
from zoo.flow.sampling import sample
from zoo.flow.solvers import EulerSolver, HeunSolver
from zoo.flow.stages import StagePlan, plan_stages
from zoo.flow.weightings import MinSNRWeighting, SNRWeighting, UniformWeighting
from zoo.hookspecs import hookimpl

__all__ = [
    "MODULATION_BYTES",
    "Draw",
    "Guidance",
    "GuidedVelocity",
    "NoiseSampler",
    "Passes",
    "Solver",
    "StagePlan",
    "Velocity",
    "Weighting",
    "evaluations",
    "interpolate",
    "plan_stages",
    "sample",
    "target",
    "velocity_errors",
    "zoo_parts",
]


@hookimpl
def zoo_parts() -> list[type]:
    """The built-in parts of training and sampling."""
    return [
        UniformNoise,
        LogitNormalNoise,
        UniformWeighting,
        SNRWeighting,
        MinSNRWeighting,
        EulerSolver,
        HeunSolver,
        Dopri5Solver,
        EulerMaruyamaSolver,
    ]
