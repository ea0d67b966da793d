"""What is told of a run: a line at its start, one now and then, and where everything is."""

import io
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from tests.train.small import ALONE, small
from zoo.assembly import build
from zoo.audit import audit
from zoo.callbacks import Step
from zoo.cli import progress as module
from zoo.cli.progress import Progress, _with_unit
from zoo.errors import AuditError
from zoo.flow import objective_of
from zoo.runs.run_folder import RunFolder
from zoo.train.job import open_job
from zoo.train.trainer import Trainer


@pytest.fixture
def trainer(registry):
    recipe = small(registry=registry)
    objective = objective_of(recipe, build(recipe))
    return Trainer(open_job(recipe, objective, registry, 0, 1), objective, ALONE)


@pytest.fixture
def now():
    """The time that ``clock`` tells."""
    return SimpleNamespace(seconds=1000.0)


@pytest.fixture
def clock(now):
    return lambda: now.seconds


def step(number, loss=0.5):
    return Step(number, loss, (loss,), 1.0, 0.1, 0.9, stop=False)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 "), (1, "1 "), (999, "999 "), (999.4, "999 "), (999.5, "1 k"), (999.9, "1 k"), (1000, "1 k"),
        (12_345, "12.3 k"), (999_400, "999 k"), (999_600, "1 M"), (949e6, "949 M"), (1.5e9, "1.5 G"), (2e12, "2 T"),
        (3e15, "3 P"), (0.5, "0.5 "),
    ],
)  # fmt: skip
def test_numbers_with_units(value, shown):
    assert _with_unit(value) == shown


def test_terms_of_the_loss_are_told_where_there_are_several(trainer, clock, capsys, monkeypatch):
    monkeypatch.setattr(Progress, "_macs_per_image", lambda self, trainer: None)
    for terms, told in (({"cosine": 0.5}, ""), ({"cosine": 0.125, "own": 3.0}, " (cosine 0.1250, own 3.0000)")):
        with Progress(clock) as progress:
            progress.start(trainer, 1)
            progress.step(replace(step(1), terms=terms), None)
        assert f"step 1/1  loss 0.5000{told}\n" in capsys.readouterr().err


def test_without_a_terminal_lines_come_seldom_and_at_the_end(trainer, now, clock, capsys, monkeypatch):
    monkeypatch.setattr(Progress, "_macs_per_image", lambda self, trainer: 7_000_000)
    with Progress(clock) as progress:
        progress.start(trainer, 5)
        for number in range(1, 6):
            now.seconds += 4
            progress.step(step(number, loss=number), 100.0 if number == 3 else None)
    lines = capsys.readouterr().err.splitlines()
    parameters = sum(each.numel() for each in trainer.backbone.parameters())
    start = f"small: {parameters / 1e6:.2f} M parameters on cpu, one process; 1198 samples, batch 8, to step 5"
    speed = "100.0 images/s  700 MMAC/s"
    assert lines == [
        start,
        "step 1/5  loss 1.0000",  # the first one at once, then one after more than ten seconds
        f"step 4/5  loss 4.0000  {speed}  left 0:00:04",
        f"step 5/5  loss 5.0000  {speed}",
    ]


def test_the_time_left_of_a_run_that_goes_on_is_by_its_own_steps(trainer, now, clock, capsys, monkeypatch):
    monkeypatch.setattr(Progress, "_macs_per_image", lambda self, trainer: None)
    trainer.step = 100
    with Progress(clock) as progress:
        progress.start(trainer, 200)
        for number in (101, 102):
            now.seconds += 30
            progress.step(step(number), None)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "step 101/200  loss 0.5000  left 0:49:30",
        "step 102/200  loss 0.5000  left 0:49:00",
    ]


def test_a_run_that_goes_on_says_from_where(trainer, capsys, monkeypatch):
    monkeypatch.setattr(Progress, "_macs_per_image", lambda self, trainer: None)
    trainer.step = 3
    with Progress() as progress:
        progress.start(trainer, 5)
    assert capsys.readouterr().err.endswith("batch 8, from step 3 to step 5\n")


def test_lines_are_neither_wrapped_nor_read_as_markup(capsys):
    text = "warning: [red]" + "x" * 300 + "[/red] 3"
    Progress().say(text)
    assert capsys.readouterr().err == text + "\n"


def test_multiply_adds_are_three_times_the_forward_pass_of_a_mean_sample(trainer, registry):
    report = audit(trainer.job.recipe)
    counts = trainer.job.plan.counts
    mean = sum(count * stage.macs for count, stage in zip(counts, report.stages, strict=True)) / sum(counts)
    assert Progress()._macs_per_image(trainer) == int(3 * mean)
    assert len({stage.macs for stage in report.stages}) == 2


def test_what_cannot_be_counted_is_left_out(trainer, clock, capsys, monkeypatch):
    """And told: the run goes on without."""

    def refuse(*arguments):
        raise AuditError("blocks.2 does not trace")

    monkeypatch.setattr("zoo.audit.audit", refuse)
    with Progress(clock) as progress:
        progress.start(trainer, 1)
        progress.step(step(1), 10.0)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "note: multiply-adds/s are not shown: blocks.2 does not trace",
        "step 1/1  loss 0.5000  10.0 images/s",
    ]


def test_a_fault_of_the_audit_is_not_hidden(trainer, monkeypatch):
    def fails(*arguments):
        raise TypeError("a fault")

    monkeypatch.setattr("zoo.audit.audit", fails)
    with pytest.raises(TypeError, match="a fault"), Progress() as progress:
        progress.start(trainer, 1)


def test_a_run_that_has_become_slow_says_so_once(trainer, now, clock, capsys, monkeypatch):
    monkeypatch.setattr(Progress, "_macs_per_image", lambda self, trainer: None)
    with Progress(clock) as progress:
        progress.start(trainer, 1000)
        for seconds in (*[0.5] * 20, *[20] * 10):
            now.seconds += seconds
            progress.step(step(1), None)
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1
    assert notes[0].startswith("note: 0.4 images/s, for 30 s less than a third of this run's best (16): ")
    assert "OMP_NUM_THREADS=1" in notes[0]


@pytest.mark.parametrize(("device", "threads", "count"), [("cpu", 2, 1), ("cpu", 1, 0), ("cuda", 2, 0)])
def test_only_threads_that_meet_at_every_operator_are_told_to_wait(
    trainer, now, clock, capsys, monkeypatch, device, threads, count
):
    monkeypatch.setattr(Progress, "_macs_per_image", lambda self, trainer: None)
    monkeypatch.setattr(trainer, "world", SimpleNamespace(size=1, device=torch.device(device)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(module, "times_of_threads", lambda: (now.seconds, 3 * now.seconds))
    with Progress(clock) as progress:
        progress.start(trainer, 1000)
        for _ in range(40):
            now.seconds += 1
            progress.step(step(1), None)
    assert capsys.readouterr().err.count("waited for a core 75% of their time") == count


def test_on_a_terminal_there_is_a_bar(trainer, monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(
        module, "Console", lambda **options: Console(file=shown, force_terminal=True, width=160, highlight=False)
    )
    with Progress() as progress:
        progress.start(trainer, 5)
        progress.step(step(5), 10.0)
    assert "5/5" in shown.getvalue()
    assert "loss 0.5000  10.0 images/s" in shown.getvalue()
    assert "step 5/5" not in shown.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_what_a_bar_shows_is_whole(trainer, monkeypatch, width):
    """It leaves out what has no room, the bar itself first."""
    monkeypatch.setattr(Progress, "_macs_per_image", lambda self, trainer: 7_000_000)
    console = Console(file=io.StringIO(), force_terminal=True, width=width, highlight=False)
    monkeypatch.setattr(module, "Console", lambda **options: console)
    with Progress() as progress:
        progress.start(trainer, 400_000)
        progress.step(replace(step(100_000), terms={"cosine": 0.5, "own": 0.125}), 1234.5)
        lines = console.render_lines(progress._bar.get_renderable())
    (shown,) = ["".join(segment.text for segment in line) for line in lines]
    assert "…" not in shown
    assert re.fullmatch(r"[━╸╺ ]+100000/400000 +loss 0\.5000( .*)? \d:\d\d:\d\d left [-\d:]+ *", shown)
    assert ("1234.5 images/s" in shown, "8.64 GMAC/s" in shown, "own 0.1250" in shown) == (
        width >= 80,
        width >= 80,
        width >= 120,
    )


def test_leaving_without_a_start_is_no_error():
    with pytest.raises(KeyError), Progress():
        raise KeyError


def test_the_end_says_where_everything_is(tmp_path, trainer, capsys, monkeypatch):
    monkeypatch.setattr(Progress, "_macs_per_image", lambda self, trainer: None)
    folder = RunFolder(tmp_path)
    with Progress() as progress:
        progress.start(trainer, 5)
    capsys.readouterr()
    for name in ("recipe.yaml", "loss.png"):
        (tmp_path / name).touch()
    (tmp_path / "metrics.jsonl").mkdir()  # in whose place nothing could be written
    progress.finish(folder)
    written = f"wrote {tmp_path}: checkpoints, recipe.yaml, loss.png"
    assert capsys.readouterr().err.splitlines() == [written]
    folder.samples.mkdir()
    for number in (2, 10):
        (folder.samples / f"step_{number:08d}.png").touch()
    progress.finish(folder)
    assert capsys.readouterr().err.splitlines() == [written, f"samples: {folder.samples / 'step_00000010.png'}"]


def test_where_nothing_was_trained_nothing_is_said_to_be_written(tmp_path, capsys):
    Progress().finish(RunFolder(tmp_path))
    assert capsys.readouterr().err == ""


def test_several_processes_are_counted(trainer, capsys, monkeypatch):
    monkeypatch.setattr(Progress, "_macs_per_image", lambda self, trainer: None)
    monkeypatch.setattr(trainer, "world", SimpleNamespace(size=4, device=torch.device("cpu")))
    with Progress() as progress:
        progress.start(trainer, 5)
    assert "on cpu, 4 processes; " in capsys.readouterr().err
