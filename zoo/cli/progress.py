"""Progress bars of long work, on stderr; plain lines where that is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.cells import cell_len
from rich.console import Console
from rich.progress import TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from zoo.cli.bars import bar
from zoo.cli.common import tell
from zoo.cli.slowness import SlownessWatch, times_of_threads
from zoo.errors import AuditError, printable
from zoo.pace import Pace

if TYPE_CHECKING:
    from zoo.callbacks import Step
    from zoo.runs.run_folder import RunFolder
    from zoo.train.trainer import Trainer


class Progress:
    """Shows how training goes: loss, images/s, time left, multiply-adds/s; and says when it has become slow.

    Args:
        clock: tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.console = Console(stderr=True, highlight=False)
        self._bar = bar(
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            TextColumn("left"),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            console=self.console,
            transient=False,
        )
        self._last = 0
        self._has_told = False
        self._speed: list[str] = []
        self._macs: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start(self, trainer: Trainer, last: int) -> None:
        """Training begins."""
        import torch

        recipe = trainer.job.recipe
        self._last = last
        parameters = sum(each.numel() for each in trainer.backbone.parameters())
        ranks = f"{trainer.world.size} processes" if trainer.world.size > 1 else "one process"
        begun = f"from step {trainer.step} " if trainer.step else ""
        self.say(
            f"{recipe.name}: {parameters / 1e6:.2f} M parameters on {trainer.world.device.type}, {ranks};"
            f" {len(trainer.job.reader.source)} samples, batch {recipe.train.batch}, {begun}to step {last}"
        )
        self._macs = self._macs_per_image(trainer)
        threads = torch.get_num_threads() if trainer.world.device.type == "cpu" else 1
        self._slowness = SlownessWatch(recipe.train.batch, self.clock, times_of_threads if threads > 1 else None)
        self._pace = Pace(last, trainer.step, self.clock)
        self._bar.start()
        self._task = self._bar.add_task("train", total=last, completed=trainer.step, figures="")

    def step(self, step: Step, images_per_second: float | None) -> None:
        """An update has been done."""
        if images_per_second is not None:
            self._speed = [f"{images_per_second:.1f} images/s"]
            if self._macs is not None:
                self._speed.append(f"{_with_unit(self._macs * images_per_second)}MAC/s")
        terms = ", ".join(f"{name} {value:.4f}" for name, value in step.terms.items())
        of = [f"({terms})"] if len(step.terms) > 1 else []
        loss = f"loss {step.loss:.4f}"
        self._bar.update(self._task, completed=step.step, figures=self._fitting([loss, *self._speed, *of]))
        slow = self._slowness.step()
        if slow is not None:
            self.say(slow)
        if self._bar.disable and self._pace.is_due(at_once=not self._has_told or step.step == self._last):
            self._has_told = True
            figures = [f"step {step.step}/{self._last}", " ".join([loss, *of]), *self._speed]
            self.say("  ".join(filter(None, [*figures, self._pace.left(step.step)])))

    def _fitting(self, figures: list[str]) -> str:
        """As many as the bar's line has room for beside its other columns, the first at least."""
        elapsed = timedelta(seconds=int(self._bar.tasks[self._task].elapsed or 0))
        room = self.console.width - len(f"| {self._last}/{self._last}  {elapsed} left 000:00:00")
        lines = ["  ".join(figures[:count]) for count in range(1, len(figures) + 1)]
        return next((line for line in reversed(lines) if cell_len(line) <= room), lines[0])

    def say(self, text: str) -> None:
        """A line above the bar."""
        self.console.print(printable(text), markup=False, soft_wrap=True)

    def _macs_per_image(self, trainer: Trainer) -> int | None:
        from zoo.audit import audit, training_macs

        try:
            return training_macs(audit(trainer.job.recipe), trainer.job.plan)
        except AuditError as error:  # a part that cannot be counted trains all the same
            self.say(f"note: multiply-adds/s are not shown: {error}")
            return None

    def finish(self, folder: RunFolder) -> None:
        """Say where everything is, if anything was trained."""
        self._bar.stop()
        if not self._last:
            return
        grids = sorted(folder.samples.glob("*.png"))
        written = [file.name for file in (folder.recipe, folder.metrics, folder.loss_curve) if file.is_file()]
        tell(f"wrote {folder.path}: {', '.join(['checkpoints', *written])}")
        if grids:
            tell(f"samples: {grids[-1]}")


def _with_unit(value: float) -> str:
    for unit in ("", "k", "M", "G", "T"):
        if value < 999.5:  # which would show as 1e+03
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} P"
