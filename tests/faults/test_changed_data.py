"""A run goes on with the data that it began with; what has moved is told, and nothing is trained on it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.train.small import ALONE, Said, small
from zoo.data.latent_index import INDEX, LatentIndex, StatisticsRecord, VAERecord
from zoo.data.latent_index import ShardRecord as Record
from zoo.data.latent_shards import Shard
from zoo.data.latent_writing import SETTINGS, encode_ids, write_shard
from zoo.errors import DataError, Preempted
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.train.run import Run

CLASSES = ("2", "10", "cat", "dog")
DATA = {
    "pictures": ("data.dataset.type=images", "backbone.num_classes=4"),
    "latents": ("data.dataset.type=latents", "backbone.num_classes=3"),
}
Change = Callable[[Path], object]


def train(run: Path, *overrides: str, **options: object) -> list[str]:
    """Begin or go on with a run; what is said."""
    registry, listener = Registry(), Said()
    recipe = small("train.steps=3", "train.batch=4", *overrides, "data.dataset.flip=false", registry=registry)
    try:
        Run(recipe, RunFolder(run), registry, ALONE, listener).train(**options)  # type: ignore[arg-type]
    except Preempted:
        assert options["stop_at"]
    return [line for line in listener.said if not line.startswith("note: going on with data.dataset.folder")]


def draw(path: Path, seed: int, size: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)).save(path)


def write_latents(folder: Path, seed: int = 0, sizes: tuple[int, ...] = (4, 4, 2)) -> None:
    """Latents of three classes in turn, in shards of these sizes."""
    folder.mkdir(exist_ok=True)
    generator, records, first = torch.Generator().manual_seed(seed), [], 0
    for number, count in enumerate(sizes):
        path = folder / f"shard_{number}.safetensors"
        moments = torch.randn(count, 2, 8, 8, generator=generator)
        rows = range(first, first + count)
        labels = torch.tensor([row % 3 for row in rows])
        write_shard(path, Shard(moments, None, labels, encode_ids([f"{row:02}.png" for row in rows])), {})
        records.append(Record(file=path.name, count=count, sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
        first += count
    index = LatentIndex(
        channels=1, height=8, width=8, image_size=(16, 16), dtype="float32", flip="none",
        vae=VAERecord(source="tests", sha256="0" * 64),
        statistics=StatisticsRecord(of="samples", mean=(0.0,), std=(1.0,)),
        classes=("a", "b", "c"), shards=tuple(records),
    )  # fmt: skip
    (folder / INDEX).write_text(index.model_dump_json())


def reread(folder: Path) -> None:
    """Have the index say what the shards hold now."""
    values = json.loads((folder / INDEX).read_text())
    for record in values["shards"]:
        record["sha256"] = hashlib.sha256((folder / record["file"]).read_bytes()).hexdigest()
    (folder / INDEX).write_text(json.dumps(values))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on pictures and on latents, stopped after their first step, beside their data."""
    root = tmp_path_factory.mktemp("begun")
    for label, name in enumerate(CLASSES):
        for place in range(3 + label):
            draw(root / "pictures" / name / f"{place}.png", 10 * label + place)
    write_latents(root / "latents")
    for kind, data in DATA.items():
        assert train(root / f"run_{kind}", *data, f"data.dataset.folder={root / kind}", stop_at=1) == []
    return root


def go_on(begun: Path, root: Path, kind: str, change: Change) -> list[str]:
    """Change a copy of the data in which times are kept, and go on with a copy of the run."""
    data, run = root / kind, root / f"run_{kind}"
    shutil.copytree(begun / kind, data)
    shutil.copytree(begun / f"run_{kind}", run)
    change(data)
    return train(run, *DATA[kind], f"data.dataset.folder={data}", resume=True)


def message(begun: Path, root: Path, kind: str, change: Change) -> str:
    with pytest.raises(DataError) as caught:
        go_on(begun, root, kind, change)
    found = checkpoints.latest(root / f"run_{kind}" / "checkpoints")[0]
    assert found is not None
    assert found.step == 1
    text = str(caught.value)
    before, after = f"{found.path}: the data is not what was trained on: ", "; put it back as it was"
    assert text.startswith(before), text
    assert text.endswith(f", or begin another run with train.init={root / f'run_{kind}'}"), text
    return text.removeprefix(before).partition(after)[0]


def rename(one: str, other: str) -> Change:
    return lambda data: (data / one).rename(data / other)


def exchange(one: str, other: str) -> Change:
    def change(data: Path) -> None:
        (data / one).rename(data / "aside")
        (data / other).rename(data / one)
        (data / "aside").rename(data / other)

    return change


def remove(data: Path) -> None:
    (data / "cat" / "1.png").unlink()


def add(data: Path) -> None:
    draw(data / "cat" / "new.png", 1000)


def replace(data: Path) -> None:
    draw(data / "cat" / "1.png", 1000, size=16)


def drop(data: Path) -> None:
    shutil.rmtree(data / "cat")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename("cat", "kitten"), "class 'cat' is called 'kitten'"),
        (rename("10", "010"), "class '10' is called '010'"),
        (exchange("cat", "dog"), "class 'cat' and class 'dog' are exchanged"),
        (
            rename("cat/1.png", "dog/9.png"),
            "class 'cat' has 4 samples in place of 5, class 'dog' has 7 samples in place of 6",
        ),
        (rename("cat/1.png", "cat/9.png"), "class 'cat' has samples of other names, or in another order"),
        (remove, "class 'cat' has 4 samples in place of 5"),
        (add, "class 'cat' has 6 samples in place of 5"),
        (drop, "class 'cat' of 5 samples is gone"),
    ],
)
def test_pictures(begun: Path, tmp_path: Path, change: Change, said: str) -> None:
    assert message(begun, tmp_path, "pictures", change) == said


def label(data: Path) -> None:
    path = data / "shard_1.safetensors"
    tensors = load_file(path)
    tensors["labels"][2] = (tensors["labels"][2] + 1) % 3
    save_file(tensors, path, {SETTINGS: "{}"})


def bits(data: Path) -> None:
    path = data / "shard_1.safetensors"
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    os.utime(path, (0, 0))


def both(*changes: Change) -> Change:
    return lambda data: [change(data) for change in changes]


def reorder(data: Path) -> None:
    values = json.loads((data / INDEX).read_text())
    values["shards"][:2] = values["shards"][1::-1]
    (data / INDEX).write_text(json.dumps(values))


def call_otherwise(data: Path) -> None:
    values = json.loads((data / INDEX).read_text())
    values["classes"] = ["a", "c", "b"]
    (data / INDEX).write_text(json.dumps(values))


SHARDS = [f"shard 'shard_{number}.safetensors'" for number in range(3)]
ANEW, OTHER_NAMES = "was written anew, with other contents", "has samples of other names, or in another order"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (partial(write_latents, seed=1), [f"{shard} {ANEW}" for shard in SHARDS]),
        (
            partial(write_latents, sizes=(2, 4, 4)),
            [
                f"{SHARDS[0]} has 2 samples in place of 4",
                f"{SHARDS[1]} {OTHER_NAMES}",
                f"{SHARDS[2]} has 4 samples in place of 2",
            ],
        ),
        (reorder, [f"{SHARDS[1]} comes before {SHARDS[0].removeprefix('shard ')}"]),
        (
            exchange("shard_0.safetensors", "shard_1.safetensors"),
            [f"{SHARDS[0]} {OTHER_NAMES}", f"{SHARDS[1]} {OTHER_NAMES}"],
        ),
        (label, ["class 'a' has 3 samples in place of 4", "class 'b' has 4 samples in place of 3"]),
        (both(label, reread), [f"{SHARDS[1]} {ANEW}"]),
        (both(bits, reread), [f"{SHARDS[1]} {ANEW}"]),
        (call_otherwise, ["class 1 was 'b', and is 'c'"]),
    ],
)
def test_latents(begun: Path, tmp_path: Path, change: Change, said: list[str]) -> None:
    assert message(begun, tmp_path, "latents", change) == ", ".join(said)


def copied(data: Path) -> None:
    for path in data.rglob("*.*"):
        os.utime(path, (0, 0))


def one_of_one_size(data: Path) -> None:
    draw(data / "cat" / "1.png", 1000)  # noise: all are of one size
    os.utime(data / "cat" / "1.png", (0, 0))


@pytest.mark.parametrize(
    ("kind", "change", "what"),
    [
        ("pictures", copied, "class '10', class '2', class 'cat', class 'dog'"),
        ("pictures", one_of_one_size, "class 'cat'"),
        ("latents", bits, SHARDS[1]),
    ],
)
def test_what_a_copy_does_not_keep_is_warned_of(
    begun: Path, tmp_path: Path, kind: str, change: Change, what: str
) -> None:
    at = tmp_path / f"run_{kind}" / "checkpoints" / "step_00000001"
    assert go_on(begun, tmp_path, kind, change) == [
        f"warning: {what}: files have been copied or changed since {at}, to the same names and sizes; `zoo data check`"
        " looks into them"
    ]


def test_a_picture_that_was_mended_or_replaced_is_told(begun: Path, tmp_path: Path) -> None:
    """Its label and place in the order are the same; a run that stopped at a broken picture must be able to go on."""
    at = tmp_path / "run_pictures" / "checkpoints" / "step_00000001"
    assert go_on(begun, tmp_path, "pictures", replace) == [
        f"warning: class 'cat': files of other sizes under the same names since {at}; training goes on with those that"
        " are there now"
    ]


@pytest.mark.parametrize("kind", ["pictures", "latents"])
def test_a_folder_that_moved_goes_on_without_a_word(begun: Path, tmp_path: Path, kind: str) -> None:
    assert go_on(begun, tmp_path, kind, lambda data: None) == []


def test_the_state_holds_a_few_lines_a_class(begun: Path) -> None:
    found, _ = checkpoints.latest(begun / "run_pictures" / "checkpoints")
    assert found is not None
    state = found.state()
    assert state["classes"] == ["10", "2", "cat", "dog"]  # as text, since not all are numbers
    assert state["data"]["counts"] == [4, 3, 5, 6]
    assert [name for name, _ in state["data"]["groups"]] == state["classes"]
    assert len(json.dumps(state["data"]["groups"])) < 200 * len(CLASSES)
