"""Between data and noise: paths, noise levels, losses, solvers and guidance.

Types that are no classes: ``Velocity``, what a solver follows: ``velocity(z, t)`` of states z [B, C, *size] at one
noise level t is [B, C, *size]; ``Draw``, where it gets noise: ``draw(k)`` is that of update k, standard normal, [B, C,
*size].
"""

from __future__ import annotations

from zoo.flow.apg import AdaptiveProjectedGuidance
from zoo.flow.autoguidance import Autoguidance
from zoo.flow.base import Draw, Guidance, Loss, LossInputs, NoiseSampler, Solver, Velocity, Weighting
from zoo.flow.cfg_zero import CFGZeroGuidance
from zoo.flow.diffusion_solvers import DDIMSolver, DPMPP2MSolver
from zoo.flow.dopri5 import Dopri5Solver
from zoo.flow.euler_maruyama import EulerMaruyamaSolver
from zoo.flow.guidance import ClassifierFreeGuidance
from zoo.flow.guided_velocity import MODULATION_BYTES, GuidedVelocity
from zoo.flow.losses import CosineLoss, SquaredErrorLoss
from zoo.flow.noise_samplers import LogitNormalNoise, UniformNoise
from zoo.flow.objective import Objective, StageBatch, Term, objective_of, total
from zoo.flow.passes import Passes, evaluations
from zoo.flow.sampling import sample
from zoo.flow.solvers import EulerSolver, HeunSolver
from zoo.flow.stages import NoiseLevels, StagePlan, plan_stages
from zoo.flow.weightings import MinSNRWeighting, SNRWeighting, UniformWeighting
from zoo.hookspecs import hookimpl
from zoo.paths import AffinePath, EDMPath, LinearPath, Mixture, TrigonometricPath, VariancePreservingPath

__all__ = [
    "MODULATION_BYTES",
    "AffinePath",
    "CosineLoss",
    "Draw",
    "EDMPath",
    "Guidance",
    "GuidedVelocity",
    "LinearPath",
    "Loss",
    "LossInputs",
    "Mixture",
    "NoiseLevels",
    "NoiseSampler",
    "Objective",
    "Passes",
    "Solver",
    "SquaredErrorLoss",
    "StageBatch",
    "StagePlan",
    "Term",
    "TrigonometricPath",
    "VariancePreservingPath",
    "Velocity",
    "Weighting",
    "evaluations",
    "objective_of",
    "plan_stages",
    "sample",
    "total",
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
        SquaredErrorLoss,
        CosineLoss,
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
