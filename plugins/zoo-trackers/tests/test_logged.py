"""What the libraries have of a run that trained, stopped and went on, read back from where they keep it."""

import json
import struct
from pathlib import Path

import pytest

from zoo.testing import check_part

pytestmark = pytest.mark.slow

BLOCK = 32768
"""Bytes of a block of W&B's files, which are LevelDB's logs: records are split where a block ends."""

HEADER = 7


def records(path):
    """The records of a .wandb file."""
    internal = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    data, at, parts = path.read_bytes(), HEADER, b""
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        parts += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # a whole record, or the end of one
            record = internal.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def history(path):
    """The figures of each step, by name."""
    lines = {}
    for record in records(path):
        if record.WhichOneof("record_type") == "history":
            items = {"/".join(each.nested_key) or each.key: json.loads(each.value_json) for each in record.history.item}
            lines.setdefault(record.history.step.num, {}).update(items)
    return lines


def metrics():
    """The losses that the run itself wrote, by step."""
    lines = [json.loads(each) for each in Path("run/metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines}


def test_wandb_offline_has_metrics_pictures_and_recipe(train):
    pytest.importorskip("wandb")
    callbacks = "[{type: wandb, project: tried, tags: [a], mode: offline}, {type: pictures, count: 4}]"
    assert "note: W&B: " in train(callbacks, "train.steps=2")
    train(callbacks, "train.steps=3")
    first, second = sorted(Path("run/wandb").glob("offline-run-*/*.wandb"))
    (begun, *_), (gone_on, *_) = (
        [each.run for each in records(path) if each.WhichOneof("record_type") == "run"] for path in (first, second)
    )
    assert begun.run_id == gone_on.run_id == json.loads(Path("run/run.json").read_text())[-1]["run"]
    assert (begun.project, begun.display_name, list(begun.tags)) == ("tried", "run", ["a"])
    config = {each.key: json.loads(each.value_json) for each in gone_on.config.update}
    assert config["train"]["steps"] == 3
    assert config["backbone"]["dim"] == 16
    lines = history(first) | history(second)
    assert {step: line["loss"] for step, line in lines.items() if "loss" in line} == metrics()
    assert "stage_errors/0" in lines[1]
    assert lines[3]["samples/_type"] == "image-file"
    assert (second.parent / "files" / lines[3]["samples/path"]).exists()


def test_wandb_without_a_login_or_disabled_does_not_end_a_run(train):
    pytest.importorskip("wandb")
    said = train("[{type: wandb, mode: online}, {type: wandb, mode: disabled}]", "train.steps=1")
    assert said.count("W&B") == 1
    assert "warning: W&B: not logged in: wandb login, or mode: offline" in said


def test_mlflow_has_metrics_pictures_and_recipe(train):
    mlflow = pytest.importorskip("mlflow")
    callbacks = "[{type: mlflow, experiment: tried, tags: [a=1], uri: 'sqlite:///runs.db'}, {type: pictures, count: 4}]"
    train(callbacks, "train.steps=2")
    train(callbacks, "train.steps=3")
    client = mlflow.MlflowClient("sqlite:///runs.db")
    (run,) = client.search_runs([client.get_experiment_by_name("tried").experiment_id])
    assert (run.info.run_name, run.info.status, run.data.tags["a"]) == ("run", "FINISHED", "1")
    assert run.data.params["backbone.dim"] == "16"
    assert (run.data.params["train.steps"], run.data.tags["train.steps"]) == ("2", "3")
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [(each.step, each.value) for each in losses] == sorted(metrics().items())
    assert "stage_errors/0" in run.data.metrics
    images = [each.path for each in client.list_artifacts(run.info.run_id, "images")]
    assert sorted(path.split("+timestamp")[0] for path in images if path.endswith(".png")) == [
        "images/samples+step+2", "images/samples+step+3"
    ]  # fmt: skip


def test_mlflow_that_cannot_be_reached_does_not_end_a_run(train, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = train("[{type: mlflow, uri: 'http://127.0.0.1:9'}]", "train.steps=1")
    assert said.count("warning: MLflow: ") == 1


@pytest.mark.parametrize(("name", "variable", "value"), [
    ("wandb", "WANDB_MODE", "offline"), ("mlflow", "MLFLOW_TRACKING_URI", "sqlite:///runs.db")
])  # fmt: skip
def test_laws(monkeypatch, name, variable, value):
    pytest.importorskip(name)
    from zoo_trackers.mlflow import MLflow
    from zoo_trackers.wandb import WandB

    monkeypatch.setenv(variable, value)
    check_part({"wandb": WandB, "mlflow": MLflow}[name])
