"""What an assembly costs, counted by fvcore on the meta device."""

from zoo.audit.held import HeldMemory, held_memory
from zoo.audit.memory import ActivationMemory, activation_memory
from zoo.audit.parts import count_params
from zoo.audit.report import Audit, audit, audit_backbone, training_macs
from zoo.audit.trace import count_stage

__all__ = [
    "ActivationMemory",
    "Audit",
    "HeldMemory",
    "activation_memory",
    "audit",
    "audit_backbone",
    "count_params",
    "count_stage",
    "held_memory",
    "training_macs",
]
