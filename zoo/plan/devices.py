"""What devices do at best, as the model of steps takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zoo.errors import ZooError, did_you_mean
from zoo.files import did_you_mean_file, write_whole
from zoo.json_files import read_json

Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]
Microseconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Device(BaseModel):
    """A GPU, or the CPUs of a machine.

    Attributes:
        name: what it is called.
        source: where its figures are from.
        memory: in GB, 10^9 bytes; of what is sold as 80 GB there are 85.
        peak: dense products in bfloat16 by the data sheet, TFLOP/s, of which model FLOPs are a share; None if unknown.
        bfloat16: large products in it, TFLOP/s.
        float32: likewise, as they are.
        tf32: likewise, in TF32 (``train.matmul``); None where there is no such thing.
        attention: of a large product's rate, what fused attention comes to, forward and backward pass.
        tile: queries and keys that it handles together; fewer take as long.
        bandwidth: a large copy, TB/s, reading and writing.
        eager: of this, what single elementwise operators come to.
        joined: and those that are compiled to one.
        product_us: that a product takes beside its multiply-adds.
        kernel_us: the same of a compiled elementwise kernel.
        host_us: that the host takes to ask for an operator.
        beside: whether it asks while the device is at work on earlier ones, as for a GPU.
        link: to other GPUs of a machine, each way, GB/s.
        network: to other machines, a GPU, GB/s.
        on_a_machine: GPUs of one machine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    source: str = ""
    memory: Positive
    peak: Positive | None = None
    bfloat16: Positive
    float32: Positive
    tf32: Positive | None = None
    attention: Share = 0.23
    tile: Annotated[int, Field(ge=1)] = 128
    bandwidth: Positive
    eager: Share = 0.6
    joined: Share = 0.85
    product_us: Microseconds = 7.0
    kernel_us: Microseconds = 4.0
    host_us: Microseconds = 10.0
    beside: bool = True
    link: Positive = 25.0
    network: Positive = 40.0
    on_a_machine: Annotated[int, Field(ge=1)] = 8

    def write(self, path: Path) -> None:
        """Keep it in a file, which ``load_device`` reads.

        Raises:
            ZooError: it cannot be written.
        """
        write_whole(path, self.model_dump_json(indent=2) + "\n", ZooError)


H200 = Device(
    name="h200",
    source="measured on one (docs/results.md); its host took 31 us an operator, a virtual machine's; TF32 was not"
    " measured: it is taken to keep of its data sheet what bfloat16 kept",
    memory=150,
    peak=989,
    bfloat16=784,
    float32=53,
    tf32=495 * 784 / 989,
    bandwidth=4.2,
    host_us=31,
    link=360,
)


def _by_data_sheet(
    name: str, memory: float, peak: float, float32: float, tf32: float, bandwidth: float, link: float
) -> Device:
    """A GPU that keeps of its data sheet what the H200 kept of its own."""
    of_peak = H200.bfloat16 / 989
    return Device(
        name=name,
        source="data sheet, of which it is taken to keep what an H200 kept; a host of 10 us an operator is assumed",
        memory=memory,
        peak=peak,
        bfloat16=peak * of_peak,
        float32=float32 * of_peak,
        tf32=tf32 * of_peak,
        bandwidth=bandwidth * H200.bandwidth / 4.8,
        link=link * 0.8,
    )


KNOWN = {
    each.name: each
    for each in (
        _by_data_sheet("a100", 85, 312, 19.5, 156, 2.04, 300),
        _by_data_sheet("h100", 85, 989, 67, 495, 3.35, 450),
        H200,
        _by_data_sheet("l40s", 48, 362, 91.6, 183, 0.864, 32),
        _by_data_sheet("rtx4090", 25, 165, 82.6, 82.6, 1.008, 32),
    )
}


def known_devices() -> tuple[str, ...]:
    """Names that ``load_device`` takes."""
    return tuple(KNOWN)


def load_device(name: str) -> Device:
    """A device by its name, or from a file that ``zoo plan --measure`` has written.

    Raises:
        ZooError: there is none, or the file is not one.
    """
    if name.lower() in KNOWN:
        return KNOWN[name.lower()]
    path = Path(name)
    if path.suffix != ".json":
        raise ZooError(
            f"--gpu {name}: no such device{did_you_mean(name, KNOWN)}; known are {', '.join(KNOWN)}, and files that"
            " `zoo plan --measure` writes"
        )
    try:
        return Device.model_validate_json(json.dumps(read_json(path)))
    except OSError as error:
        raise ZooError(
            f"{path}: cannot be read: {error.strerror or error}; `zoo plan --measure` writes one"
            f"{did_you_mean_file(path, ('.json',))}"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise ZooError(f"{path}: {where}: {first['msg']}; `zoo plan --measure` writes one anew") from error
    except ValueError as error:
        raise ZooError(f"{path}: is no device's: {error}; `zoo plan --measure` writes one") from error
