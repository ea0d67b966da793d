"""The calls that the callbacks make of the two libraries, and the run that tells them how it goes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any


class Training(SimpleNamespace):
    """What the callbacks ask of a run."""

    def __init__(self, path: Path, step: int = 0, **changed: Any) -> None:
        resolved = {"name": "tiny", "train": {"steps": 10, "ema": [0.9, 0.99], **changed}}
        recipe = SimpleNamespace(resolved=lambda: resolved, train=SimpleNamespace(log_every=2))
        said: list[str] = []
        super().__init__(recipe=recipe, run="0123abcd", name="lr3", steps=10, step=step, folder=path / "own")
        self.said, self.say = said, said.append


class FakeWandB:
    """wandb."""

    class Error(Exception):
        pass

    Settings = dict
    Image = staticmethod(lambda image: ("image", image.shape))

    def __init__(self, mode: str = "online", logged_in: bool = True) -> None:
        self.mode, self.logged_in = mode, logged_in
        self.asked: dict[str, Any] = {}
        self.lines: list[tuple[int, dict[str, Any]]] = []
        self.ended: list[Any] = []
        self.url, self.settings = "https://there", SimpleNamespace(sync_dir="run/wandb/offline-run")

    def setup(self) -> Any:
        return SimpleNamespace(settings=SimpleNamespace(mode=self.mode))

    def login(self, prompt: bool) -> bool:
        assert not prompt
        return self.logged_in

    def init(self, **asked: Any) -> FakeWandB:
        self.asked = asked
        return self

    def log(self, values: dict[str, Any], step: int) -> None:
        self.lines.append((step, values))

    def mark_preempting(self) -> None:
        self.ended.append("preempting")

    def finish(self, exit_code: int) -> None:
        self.ended.append(exit_code)


class Metric(SimpleNamespace):
    def __init__(self, key: str, value: float, timestamp: int, step: int) -> None:
        super().__init__(key=key, value=value, step=step)


class Pair(SimpleNamespace):
    def __init__(self, key: str, value: str) -> None:
        super().__init__(key=key, value=value)


class FakeMLflow:
    """mlflow, with a store in memory, of one run."""

    class MlflowException(Exception):  # noqa: N818 - its name
        pass

    entities = SimpleNamespace(Metric=Metric, Param=Pair, RunTag=Pair)
    tracking_uri = "memory"

    def __init__(self) -> None:
        self.experiments: list[str] = []
        self.runs: list[str] = []
        self.tags: dict[str, str] = {}
        self.params: dict[str, str] = {}
        self.metrics: list[Metric] = []
        self.images: list[tuple[str, int]] = []
        self.status = ""
        self.down = False

    def MlflowClient(self, tracking_uri: str | None) -> FakeMLflow:  # noqa: N802
        return self

    def get_experiment_by_name(self, name: str) -> Any:
        self._reach()
        return SimpleNamespace(experiment_id="1") if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        self.experiments.append(name)
        return "1"

    def search_runs(self, experiments: list[str], query: str, max_results: int) -> list[Any]:
        key, _, value = query.removeprefix("tags.").partition(" = ")
        found = self.tags.get(key.strip("`")) == value.strip("'")
        return [self._run()] if found else []

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> Any:
        self.runs.append(run_name)
        self.tags.update(tags)
        self.status = "RUNNING"
        return self._run()

    def update_run(self, run: str, status: str) -> None:
        self.status = status

    def log_batch(self, run: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
        self._reach()
        self.metrics += metrics
        for each in params:
            assert self.params.setdefault(each.key, each.value) == each.value, "params cannot change"
        self.tags.update({each.key: each.value for each in tags})

    def log_image(self, run: str, image: Any, key: str, step: int) -> None:
        self.images.append((key, step))

    def set_terminated(self, run: str, status: str) -> None:
        self.status = status

    def _run(self) -> Any:
        proto = SimpleNamespace(metrics=sorted(self.metrics, key=lambda each: each.step))
        data = SimpleNamespace(params=dict(self.params), to_proto=lambda: proto)
        return SimpleNamespace(info=SimpleNamespace(run_id="r1"), data=data)

    def _reach(self) -> None:
        if self.down:
            raise self.MlflowException("cannot be reached\nfor a long reason")
