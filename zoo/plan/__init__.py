"""How long training, sampling and checkpoints take on a device, by a model of it."""

from zoo.plan.devices import Device, known_devices, load_device
from zoo.plan.measuring import measure
from zoo.plan.plan import Plan, Work, plan, work_of

__all__ = ["Device", "Plan", "Work", "known_devices", "load_device", "measure", "plan", "work_of"]
