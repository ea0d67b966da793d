"""Between data and noise: paths, noise levels, loss, solvers and guidance."""

from __future__ import annotations

from zoo.flow.apg import AdaptiveProjectedGuidance
from zoo.flow.autoguidance import Autoguidance
from zoo.flow.base import Draw, Guidance, NoiseSampler, Solver, Velocity, Weighting
from zoo.flow.cfg_zero import CFGZeroGuidance
from zoo.flow.diffusion_solvers import DDIMSolver, DPMPP2MSolver
from zoo.flow.dopri5 import Dopri5Solver
from zoo.flow.euler_maruyama import EulerMaruyamaSolver
from zoo.flow.guidance import ClassifierFreeGuidance
from zoo.flow.guided_velocity import MODULATION_BYTES, GuidedVelocity
from zoo.flow.noise_samplers import LogitNormalNoise, UniformNoise
from zoo.flow.objective import prediction_errors
from zoo.flow.passes import Passes, evaluations
from zoo.flow.sampling import sample
from zoo.flow.solvers import EulerSolver, HeunSolver
from zoo.flow.stages import StagePlan, plan_stages
from zoo.flow.weightings import MinSNRWeighting, SNRWeighting, UniformWeighting
from zoo.hookspecs import hookimpl
from zoo.paths import AffinePath, EDMPath, LinearPath, Mixture, TrigonometricPath, VariancePreservingPath

__all__ = [
    "MODULATION_BYTES",
    "AffinePath",
    "Draw",
    "EDMPath",
    "Guidance",
    "GuidedVelocity",
    "LinearPath",
    "Mixture",
    "NoiseSampler",
    "Passes",
    "Solver",
    "StagePlan",
    "TrigonometricPath",
    "VariancePreservingPath",
    "Velocity",
    "Weighting",
    "evaluations",
    "plan_stages",
    "prediction_errors",
    "sample",
    "zoo_parts",
]


@hookimpl
def zoo_parts() -> list[type]:
    """The built-in parts of training and sampling."""
    return [
        LinearPath,
        TrigonometricPath,
        VariancePreservingPath,
        EDMPath,
        UniformNoise,
        LogitNormalNoise,
        UniformWeighting,
        SNRWeighting,
        MinSNRWeighting,
        EulerSolver,
        HeunSolver,
        Dopri5Solver,
        EulerMaruyamaSolver,
        DDIMSolver,
        DPMPP2MSolver,
        ClassifierFreeGuidance,
        CFGZeroGuidance,
        AdaptiveProjectedGuidance,
        Autoguidance,
    ]
