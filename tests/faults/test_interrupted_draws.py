"""Samples and figures whose drawing was interrupted are gone on with, to the same bytes as if nothing had been."""

import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest

from tests.distributed.ranks import run_ranks
from tests.train.small import ALONE, small, train
from zoo import files
from zoo.errors import RunError, WeightsError, ZooError
from zoo.registry import Registry
from zoo.sampling import images as sampling
from zoo.sampling.images import SampleRun, draw_samples
from zoo.sampling.sampler import Sampler

REGISTRY = Registry()
COUNT = 20  # in batches of 6: four, of which the last is cut


@pytest.fixture(scope="module")
def whole(trained, tmp_path_factory):
    """What a call that nobody interrupts leaves."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert draw(ALONE, trained, out) == COUNT
    return content(out)


class Stop(KeyboardInterrupt):
    """The end of the process."""


def draw(world, run, out, *overrides, resume=False, stop_before=None, stop=Stop, **options):
    """Draw samples; images drawn by this call are returned, or the process ends before batch ``stop_before``."""
    images = Sampler.images

    def stopping(self, backbone, labels, batch, count=None):
        if batch == stop_before:
            raise stop
        return images(self, backbone, labels, batch, count)

    asked = {"run": run, "out": out, "weights": "ema", "labels": (), "count": COUNT, "seed": 0, "npz": True}
    Sampler.images = stopping
    try:
        request = SampleRun(**{**asked, **options}, resume=resume)
        return draw_samples(request, small(*overrides, registry=REGISTRY), REGISTRY, world)
    finally:
        Sampler.images = images


def content(out):
    """Every file's bytes; where the run is may differ."""
    found = {path.name: path.read_bytes() for path in out.iterdir()}
    for name in ("request.json", "samples.json"):
        if name in found:
            found[name] = {key: value for key, value in json.loads(found[name]).items() if key != "run"}
    return found


def interrupted(run, out, before, **options):
    with pytest.raises(Stop):
        draw(ALONE, run, out, stop_before=before, **options)
    return out


@pytest.mark.parametrize("before", range(4))
def test_what_is_missing_is_drawn_and_nothing_else(before, run, whole, tmp_path):
    out = interrupted(run, tmp_path / "out", before)
    assert not (out / "samples.json").exists()
    there = {path: path.stat().st_ino for path in out.glob("0*.png")}
    assert len(there) == 6 * before
    assert draw(ALONE, run, out, resume=True) == COUNT - 6 * before
    assert content(out) == whole
    assert {path: path.stat().st_ino for path in there} == there, "what was there has not been written again"


def test_an_interruption_between_any_two_images(run, whole, tmp_path, monkeypatch):
    out, write = tmp_path / "out", sampling.write_png
    left = iter(range(9))

    def stopping(image, path):
        if next(left, None) is None:
            raise Stop
        write(image, path)

    monkeypatch.setattr(sampling, "write_png", stopping)
    with pytest.raises(Stop):
        draw(ALONE, run, out)
    monkeypatch.undo()
    assert draw(ALONE, run, out, resume=True) == COUNT - 9
    assert content(out) == whole


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-20], lambda data: b"", lambda data: data[:60] + b"\0" + data[61:]]
)
def test_a_picture_that_is_not_whole_is_drawn_again(damage, run, whole, tmp_path):
    out = interrupted(run, tmp_path / "out", 2)
    picture = out / "000003.png"
    picture.write_bytes(damage(picture.read_bytes()))
    assert draw(ALONE, run, out, resume=True) == COUNT - 12 + 1
    assert content(out) == whole


def test_what_a_crash_has_left_half_written_goes(run, whole, tmp_path):
    out = interrupted(run, tmp_path / "out", 1)
    (out / ".000007.png.unfinished").write_bytes(b"half")
    draw(ALONE, run, out, resume=True)
    assert content(out) == whole


@pytest.mark.parametrize("name", ["grid.png", "samples.npz", "samples.json"])
def test_an_interruption_after_the_last_image(name, run, whole, tmp_path):
    out = tmp_path / "out"
    draw(ALONE, run, out)
    for each in ("samples.json", name):
        (out / each).unlink(missing_ok=True)
    assert draw(ALONE, run, out, resume=True) == 0
    assert content(out) == whole


def test_samples_that_are_all_there_are_left_as_they_are(run, tmp_path):
    out = tmp_path / "out"
    draw(ALONE, run, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    shutil.rmtree(run)
    assert draw(ALONE, run, out, resume=True) == 0
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_where_there_is_nothing_to_go_on_with_all_is_drawn_and_said(run, whole, tmp_path):
    out = tmp_path / "out"
    with pytest.warns(UserWarning, match=re.escape(f"{out}: holds no samples to go on with; all are drawn")):
        assert draw(ALONE, run, out, resume=True) == COUNT
    assert content(out) == whole


@pytest.mark.parametrize(
    ("overrides", "options", "told"),
    [
        ([], {"count": 21}, "count: 20 and 21"),
        ([], {"seed": 1}, "seed: 0 and 1"),
        ([], {"labels": (3,)}, "labels: [] and [3]"),
        ([], {"npz": False}, "npz: true and false"),
        ([], {"weights": "raw"}, 'weights: "ema" and "raw"'),
        (["sample.steps=3"], {}, "sample.steps: 2 and 3"),
        (["sample.solver=heun"], {}, 'sample.solver.type: "euler" and "heun"'),
        (["sample.batch=4"], {}, "sample.batch: 6 and 4"),
    ],
)
def test_what_is_asked_otherwise_is_refused_by_name(overrides, options, told, run, tmp_path):
    out = interrupted(run, tmp_path / "out", 2)
    before = content(out)
    with pytest.raises(ZooError) as caught:
        draw(ALONE, run, out, *overrides, resume=True, **options)
    assert str(caught.value) == (
        f"{out}: other samples were asked for (these values first): {told}; ask for the same, or choose another folder"
    )
    assert caught.value.exit_code == 2
    assert content(out) == before


def test_a_run_that_has_trained_on_is_drawn_from_where_it_was(run, whole, tmp_path):
    newest = run / "checkpoints" / "step_00000003"
    later = newest.rename(tmp_path / "later")
    out = interrupted(run, tmp_path / "out", 2)
    later.rename(newest)
    draw(ALONE, run, out, resume=True)
    assert json.loads((out / "samples.json").read_text())["checkpoint"] == "step_00000002"
    assert content(out) != whole


def test_a_checkpoint_that_is_gone_and_other_weights(run, tmp_path):
    out = interrupted(run, tmp_path / "out", 2)
    other = train(tmp_path / "other", "train.seed=1").path
    with pytest.raises(
        WeightsError, match=r"other: holds other weights than those that the images in .*out were drawn"
    ):
        draw(ALONE, other, out, resume=True)
    shutil.rmtree(run / "checkpoints" / "step_00000003")
    with pytest.raises(RunError, match=r"there is no checkpoint of step 3; .*; the images in .*out were drawn from it"):
        draw(ALONE, run, out, resume=True)


def test_samples_are_not_gone_on_with_unasked(run, tmp_path):
    out = interrupted(run, tmp_path / "out", 2)
    with pytest.raises(ZooError) as caught:
        draw(ALONE, run, out)
    assert str(caught.value) == (f"{out}: holds samples already; go on with them by --resume, or choose another folder")


@pytest.mark.parametrize("text", ["", "{", "3"])
def test_a_request_that_is_damaged(text, run, tmp_path):
    out = interrupted(run, tmp_path / "out", 2)
    (out / "request.json").write_text(text)
    with pytest.raises(RunError, match=r"request\.json: is not what zoo wrote: "):
        draw(ALONE, run, out, resume=True)


def test_other_numbers_of_processes_go_on_with_what_one_began(run, whole, tmp_path):
    for ranks in (2, 3):
        out = interrupted(run, tmp_path / str(ranks), 1)
        assert run_ranks(lambda world, *given: draw(world, *given, resume=True), ranks, run, out) == [COUNT - 6] * ranks
        assert content(out) == whole


def test_one_process_goes_on_with_what_two_began(run, whole, tmp_path):
    """Of which one failed, and the other one drew its share."""
    out = tmp_path / "out"
    run_ranks(lambda world: draw(world, run, out, stop_before=1, stop=RunError("stopped")), 2)
    assert {int(path.stem) for path in out.glob("0*.png")} == {*range(6), *range(12, 18)}
    assert draw(ALONE, run, out, resume=True) == 8
    assert content(out) == whole


def command(run, out, *options):
    asked = ["--run", str(run), "--count", "60", "--set", "sample.steps=100", "--out", out]
    return [sys.executable, "-m", "zoo", "sample", *asked, *options]


@pytest.fixture(scope="module")
def by_command(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("by_command")
    subprocess.run(command(trained, "out"), cwd=folder, check=True, capture_output=True)
    return content(folder / "out")


HELD = """
import signal, sys
from zoo.cli import main
from zoo.sampling.sampler import Sampler

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's job in the background ignores
draw, batches = Sampler.images, []

def images(*given):
    batches.append(given)
    if len(batches) == 2:
        print("held", file=sys.stderr, flush=True)
        sys.stdin.read()
    return draw(*given)

Sampler.images = images
main()
"""
"""The command, which waits before its second batch, so that no machine is so fast that a signal comes too late."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_command_that_is_stopped_is_gone_on_with(number, code, run, by_command, tmp_path):
    held = [sys.executable, "-c", HELD, *command(run, "out")[3:]]
    stopped = subprocess.Popen(held, cwd=tmp_path, text=True, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert stopped.stderr.readline() == "held\n"
    stopped.send_signal(number)
    _, rest = stopped.communicate()  # which ends what it waits for
    assert stopped.returncode == code
    if number != signal.SIGKILL:
        told = f"what has been done is kept; go on with: {shlex.join(['zoo', *held[3:], '--resume'])}\n"
        assert rest.endswith(told + "interrupted\n" * (number == signal.SIGINT))
    left = len(list((tmp_path / "out").glob("0*.png")))
    assert (0 if number == signal.SIGKILL else 6) <= left < 60  # a thread may not have written what is drawn
    again = subprocess.run(command(run, "out", "--resume"), cwd=tmp_path, capture_output=True, text=True, check=True)
    told = f"wrote {60 - left} images to out, which holds all 60 now" if left else "wrote 60 images and grid.png to out"
    assert again.stderr.splitlines()[-1] == told
    assert content(tmp_path / "out") == by_command


@pytest.mark.parametrize("full", ["000013.png", "grid.png", "samples.json"])
def test_a_full_disk_says_how_to_go_on(full, run, whole, tmp_path, monkeypatch):
    out, write_new = tmp_path / "out", files.write_new

    def refused(path, content, **options):
        if full in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_new(path, content, **options)

    monkeypatch.setattr(files, "write_new", refused)
    with pytest.raises(RunError) as caught:
        draw(ALONE, run, out)
    assert str(caught.value) == (
        f"{out / full}: cannot be written: No space left on device; what has been drawn is kept: mend it, and add"
        " --resume to go on"
    )
    monkeypatch.undo()
    draw(ALONE, run, out, resume=True)
    assert content(out) == whole


def test_another_process_that_draws_into_the_folder_is_named(run, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(Stop):
        draw(ALONE, run, out, stop_before=2)
    assert not (out / ".lock").exists()
    images = Sampler.images
    told = []

    def while_drawing(self, *arguments):
        if not told:
            Sampler.images = images
            with pytest.raises(RunError) as caught:
                draw(ALONE, run, out, resume=True)
            told.append(str(caught.value))
        return images(self, *arguments)

    Sampler.images = while_drawing
    try:
        request = SampleRun(run, out, "ema", (), COUNT, 0, npz=True, resume=True)
        draw_samples(request, small(registry=REGISTRY), REGISTRY, ALONE)
    finally:
        Sampler.images = images
    (line,) = told
    assert re.fullmatch(rf"{out}: process {os.getpid()} on .* is drawing in this folder; wait for it, or stop it", line)
    assert not (out / ".lock").exists()


def test_what_another_process_has_begun_meanwhile_is_left_as_it_is(run, tmp_path, monkeypatch):
    out, labels = tmp_path / "out", sampling._labels

    def meanwhile(*arguments):
        monkeypatch.undo()
        draw(ALONE, run, out, count=2)
        return labels(*arguments)

    monkeypatch.setattr(sampling, "_labels", meanwhile)
    with pytest.raises(RunError, match="out: another process has drawn into it by now; choose another folder"):
        draw(ALONE, run, out)
    assert json.loads((out / "samples.json").read_text())["count"] == 2
