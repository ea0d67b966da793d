"""MLflow: https://mlflow.org/docs/latest/api_reference/python_api/mlflow.client.html."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

import zoo
from zoo.callbacks import Callback, Training, numbers
from zoo_trackers.common import Every, is_due, is_stopped, library

PARAMS, METRICS = 100, 1000
"""That a request may have."""

LONGEST = 6000
"""Characters of a param's value, of which MLflow takes no more."""

OF_RUN = "zoo.run"
"""The tag that has the run's id, by which a run that goes on is found."""


@zoo.part("callback", "mlflow")
class MLflow(Callback):
    """Metrics, pictures and the resolved recipe as a run of MLflow, which goes on when the run does.

    Params cannot change: what a run goes on with otherwise is a tag of the param's name. What MLflow has of later steps
    than those that a run goes on from is not sent again, but for pictures.

    Options:
        experiment: of MLflow; made if there is none.
        name: of its run; null for that of the run's folder.
        every: steps between the lines of updates that are sent; null for every line of the metrics.
        tags: of its run; each is ``true``, or what follows a ``=``.
        uri: of the store, such as ``sqlite:///runs.db`` or ``https://host``; null for what MLflow's own settings say,
            such as MLFLOW_TRACKING_URI, or else ``mlflow.db`` in the working folder.
    """

    def __init__(
        self,
        *,
        experiment: str = "zoo",
        name: str | None = None,
        every: Every = None,
        tags: tuple[str, ...] = (),
        uri: str | None = None,
    ) -> None:
        self.experiment, self.name, self.every, self.tags, self.uri = experiment, name, every, tags, uri
        self._client: Any = None
        self._run = ""
        self._there: dict[str, int] = {}
        self._unsent: list[Any] = []

    def begin(self, training: Training) -> None:
        """Begin a run of MLflow, or go on with that which has this run's id.

        Raises:
            ImportError: MLflow is not installed.
        """
        mlflow = library("mlflow")
        client = mlflow.MlflowClient(tracking_uri=self.uri)
        try:
            run = self._begun(client, training)
            self._run = run.info.run_id
            self._there = {each.key: each.step for each in run.data.to_proto().metrics}
            self._send_recipe(mlflow.entities, client, training, run.data.params)
        except mlflow.MlflowException as error:
            training.say(f"warning: MLflow: {str(error).splitlines()[0]}; the run goes on without it")
        else:
            self._client = client
            training.say(f"note: MLflow: run {self._run} in {client.tracking_uri}")

    def log(self, training: Training, line: Mapping[str, Any]) -> None:
        """The numbers of a line, each by its name; what cannot be sent is sent with the next line."""
        if self._client is None or not is_due(training, line, self.every):
            return
        now, step, metric = int(time.time() * 1000), line["step"], library("mlflow").entities.Metric
        for key, value in numbers(line):
            if step > self._there.get(key, -1):
                self._unsent.append(metric(key, value, now, step))
        while self._unsent:
            self._client.log_batch(self._run, metrics=self._unsent[:METRICS])
            del self._unsent[:METRICS]

    def show(self, training: Training, name: str, image: np.ndarray) -> None:
        """A picture."""
        if self._client is not None:
            self._client.log_image(self._run, image, key=name, step=training.step)

    def end(self, training: Training, error: Exception | None) -> None:
        """Say how it ended."""
        if self._client is not None:
            stopped = is_stopped(training, error)
            status = "KILLED" if stopped else "FINISHED" if error is None else "FAILED"
            self._client.set_terminated(self._run, status)

    def _begun(self, client: Any, training: Training) -> Any:
        """The run of MLflow that has this run's id; a new one, if there is none."""
        experiment = client.get_experiment_by_name(self.experiment)
        of = client.create_experiment(self.experiment) if experiment is None else experiment.experiment_id
        found = client.search_runs([of], f"tags.`{OF_RUN}` = '{training.run}'", max_results=1)
        if not found:
            words = dict(each.partition("=")[::2] for each in self.tags)
            tags = {OF_RUN: training.run, **{word: value or "true" for word, value in words.items()}}
            return client.create_run(of, run_name=self.name or training.name, tags=tags)
        client.update_run(found[0].info.run_id, status="RUNNING")
        return found[0]

    def _send_recipe(self, entities: Any, client: Any, training: Training, known: Mapping[str, str]) -> None:
        values = dict(_flat(training.recipe.resolved()))
        new = [entities.Param(key, value) for key, value in values.items() if key not in known]
        changed = [entities.RunTag(key, value) for key, value in values.items() if known.get(key, value) != value]
        for at in range(0, len(new), PARAMS):
            client.log_batch(self._run, params=new[at : at + PARAMS])
        for at in range(0, len(changed), PARAMS):
            client.log_batch(self._run, tags=changed[at : at + PARAMS])


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """The values of a recipe by their keys with dots; lists as JSON."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            yield f"{before}{name}", text[:LONGEST]
