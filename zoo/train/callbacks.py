"""The callbacks of a run: each is told how it goes, and none of them decides how it goes on but by a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo.callbacks import Callback, Step
from zoo.errors import RunError
from zoo.runs.untold import Note, Untold
from zoo.signals import ENDS
from zoo.train.process import change_of, put_back
from zoo.train.records import Records, reason_of_failure
from zoo.train.told import OWN_FIGURES, RunTraining
from zoo.train.trainer import Trainer


class VitalError(RunError):
    """A callback has failed without which a run does not go on; raised by all processes alike."""


class Callbacks:
    """Tells the callbacks of a run how it goes; every process takes part in all but ``log``, ``show`` and ``fail``.

    Args:
        trainer: what trains.
        records: writes what callbacks have to say, and has them told of each line.
        tell: takes a line for the user, on the main process.
        untold: holds the step that they are being told of.

    Attributes:
        changed: what their methods have changed of the process, in words, each once; it has been put back.
    """

    def __init__(self, trainer: Trainer, records: Records, tell: Callable[[str], None], untold: Untold) -> None:
        self.world, self.tell, self.untold = trainer.world, tell, untold
        self._given = [
            _Told(name, part, RunTraining(name, part, trainer, records, tell)) for name, part in trainer.job.callbacks
        ]
        self._begun: list[_Told] = []
        self.changed: list[str] = []
        self._telling: set[str] = set()
        self._log_every = trainer.options.log_every
        self._records = records
        records.hear, records.see = self.log, self.show

    def begin(self, note: Note | None = None) -> None:
        """Training begins, or goes on.

        Args:
            note: the step that it goes on from, where it was cut off before they had been told of it; now they are.

        Raises:
            VitalError: one has failed that is vital; so do ``told``, ``checkpoint`` and ``end``.
        """
        with self._records.held():  # so that what they log here is not among the lines that go
            for each in self._given:
                each.training.tells_again = note is not None
                if self._tell(each, "begin") is None:
                    self._begun.append(each)
            if note is not None:
                self.world.first(lambda: self._lines_again(note.step.step))
        if note is not None:
            self.untold.step = note.step
            if note.checkpoint:
                self.checkpoint()
            self._tell_of(note.step)
            if self._begun:
                self.tell(f"note: step {note.step.step} was saved before all callbacks were told of it; now they are")

    def told(self, steps: Iterator[Step]) -> Iterator[Step]:
        """Pass updates on; the callbacks are told of each after what is done with it, such as saving it."""
        for step in steps:
            self.untold.step = step if self._begun else None
            yield step
            self._tell_of(step)

    @property
    def hear_of_checkpoints(self) -> bool:
        """Whether any of them does something with a checkpoint, which has to be there then."""
        return any(type(each.part).checkpoint is not Callback.checkpoint for each in self._begun)

    def checkpoint(self) -> None:
        """A checkpoint has been saved."""
        for each in self._begun:
            self._tell(each, "checkpoint")

    def end(self) -> None:
        """Training ends, with all saved."""
        for each in self._begun:
            each.ended = True
            self._tell(each, "end", None)
        self._hear_of_failures()
        for each in self._begun:
            if each.failures > 1:
                self.tell(f"warning: callback {each.name} has failed {each.failures} times")

    def fail(self, error: Exception) -> None:
        """Training ends since it has failed, perhaps on this process alone: the others may not come to an exchange."""
        if self.world.is_main:
            with self.world.busy():  # or another that has ended would end this one meanwhile
                for each in self._begun:
                    if not (each.part.everywhere or each.ended):
                        self._call(each, "end", error)

    def log(self, line: Mapping[str, Any]) -> None:
        """A line of the metrics has been written; on the main process alone."""
        self._tell_all("log", line)

    def show(self, name: str, image: np.ndarray) -> None:
        """A callback has shown a picture; on the main process alone."""
        self._tell_all("show", name, image)

    def _lines_again(self, step: int) -> None:
        """Drop the lines that callbacks are about to write again, and tell of the others; on the main process alone."""
        again = [each.name for each in self._begun if each.name not in OWN_FIGURES]
        for line in self._records.forget(step, again):
            self.log(line)

    def _tell_of(self, step: Step) -> None:
        for each in self._begun:
            self._tell(each, "step", step)
        if step.step % self._log_every == 0:  # with the lines of the metrics, which take an exchange too
            self._hear_of_failures()
        self.untold.done()

    def _tell_all(self, hook: str, *values: Any) -> None:
        if hook in self._telling:
            raise ValueError(f"it asks for {hook}() where it is told of one; let it ask from another method")
        self._telling.add(hook)
        try:
            for each in self._begun:
                self._call(each, hook, *values)
        finally:
            self._telling.remove(hook)

    def _tell(self, each: _Told, hook: str, *values: Any) -> str | None:
        """Call a method of a callback on the processes that it is for; what has failed, where all are to know it."""
        if getattr(type(each.part), hook) is not getattr(Callback, hook):
            if each.part.everywhere:
                self._call(each, hook, *values)
            else:  # in which the others wait, however long it takes
                self.world.first(lambda: self._call(each, hook, *values))
        elif not each.part.vital:
            return None
        if hook == "step" and not each.part.vital:  # which costs no exchange, of callbacks that have nothing to do
            return None
        failed = self._failed_anywhere(each)
        if failed and each.part.vital:
            raise VitalError(f"{failed}; the run does not go on without it")
        return failed

    def _call(self, each: _Told, hook: str, *values: Any) -> None:
        changed: list[str] = []
        try:
            with put_back() as changed:
                getattr(each.part, hook)(each.training, *values)
        except ENDS:
            raise
        except BaseException as error:  # or it would end the run, perhaps as if all were done
            each.failures += 1
            each.failed = f"callback {each.name}: {reason_of_failure(error)}"
            if self.world.is_main:
                self._warn(each, each.failed)
        for what in changed:
            if what not in each.changed:  # or it would be told, and kept, at every step
                self.changed.append(f"{hook}() changes {what}")
                self.tell(change_of(each.name, hook, what))
            each.changed.add(what)

    def _failed_anywhere(self, each: _Told) -> str | None:
        """What has failed last of a callback, on the first process on which anything has."""
        told = self.world.collect(each.failed) if each.part.everywhere else [each.failed]

        def failed() -> str | None:
            found = next((text for text in told if text), None)
            if found:
                self._warn(each, found)
            return found

        return self.world.first(failed)

    def _hear_of_failures(self) -> None:
        """Tell, on the main process, what has failed on others alone."""
        everywhere = [each for each in self._begun if each.part.everywhere]
        if everywhere and self.world.size > 1:
            for told in self.world.collect([(each.failures, each.failed) for each in everywhere]):
                for each, (failures, failed) in zip(everywhere, told, strict=True):
                    each.failures = max(each.failures, failures)
                    if failed:
                        self._warn(each, failed)

    def _warn(self, each: _Told, failed: str) -> None:
        """Tell the first failure of a callback that is not vital; of others the end tells how many there were."""
        if not (each.told or each.part.vital):
            self.tell(f"warning: {failed}; the run goes on")
        each.told = True


@dataclass(eq=False)
class _Told:
    """A callback, and what it sees of the run.

    Attributes:
        failures: how many there were, on this process.
        failed: what was the last one.
        told: whether who watches has been told of one.
        ended: whether it has been told of the end, if only to fail there.
        changed: what of the process it has changed, of which the user knows.
    """

    name: str
    part: Callback
    training: RunTraining
    failures: int = 0
    failed: str | None = None
    told: bool = False
    ended: bool = False
    changed: set[str] = field(default_factory=set)
