"""Callbacks that break a law."""

import io
import json
import os
import signal
import sys
import threading
from functools import partial

import numpy as np
import torch

from tests.testing.broken import Broken
from zoo.callbacks import Callback
from zoo.registry import part
from zoo.testing import callback_laws

ALONE, FAILS = callback_laws.leaves_training_alone, callback_laws.fails_in_no_method


@part("callback", "drawing_globally")
class DrawingGlobally(Callback):
    def step(self, training, step):
        torch.rand(())


@part("callback", "drawing_by_numpy")
class DrawingByNumPy(Callback):
    def begin(self, training):
        np.random.rand()


@part("callback", "moving_weights")
class MovingWeights(Callback):
    def checkpoint(self, training):
        with torch.no_grad():
            next(training._trainer.backbone.parameters()).add_(1.0)


@part("callback", "in_evaluation_mode")
class InEvaluationMode(Callback):
    def step(self, training, step):
        training._trainer.backbone.eval()


def changing(words, change):
    """One that changes what is the process's."""

    @part("callback", f"changing_{len(CHANGING)}")
    class Changing(Callback):
        def begin(self, training):
            change()

    CHANGING.append((ALONE, Changing, rf"begin\(\) changes {words}"))


@part("callback", "changing_where_it_checks")
class ChangingWhereItChecks(Callback):
    def check(self, recipe, dataset):
        os.chdir(os.sep)


@part("callback", "failing_where_it_checks")
class FailingWhereItChecks(Callback):
    def check(self, recipe, dataset):
        raise ValueError("no refusal, which is a RecipeError")


@part("callback", "leaving_a_thread")
class LeavingAThread(Callback):
    def begin(self, training):
        threading.Thread(target=threading.main_thread().join, name="uploads").start()  # to the end of the tests


@part("callback", "failing_at_the_end")
class FailingAtTheEnd(Callback):
    def end(self, training, error):
        raise KeyError("board")


@part("callback", "weights_alone")
class WeightsAlone(Callback):
    def step(self, training, step):
        training.backbone()


@part("callback", "nothing_finite")
class NothingFinite(Callback):
    def step(self, training, step):
        training.log({"ratio": float("nan")})


@part("callback", "log_of_logs")
class LogOfLogs(Callback):
    def log(self, training, line):
        training.log({"seen": 1})


@part("callback", "colours_alone")
class ColoursAlone(Callback):
    def show(self, training, name, image):
        if image.shape[-1] != 3:
            raise ValueError("no colours")


@part("callback", "beside_its_folder")
class BesideItsFolder(Callback):
    def end(self, training, error):
        (training.folder.parent / "elsewhere.txt").write_text("")


@part("callback", "counting_in_memory")
class CountingInMemory(Callback):
    def __init__(self):
        self.seen = 0

    def step(self, training, step):
        self.seen += 1
        training.log({"seen": self.seen})


@part("callback", "counting_without_steps")
class CountingWithoutSteps(Callback):
    def step(self, training, step):
        file = training.file("count")
        count = int(file.read_text()) + 1 if file.exists() else 1
        file.write_text(str(count))
        training.log({"seen": count})


@part("callback", "remembering_at_the_end")
class RememberingAtTheEnd(Callback):
    def begin(self, training):
        file = training.file("seen")
        self.seen = set(json.loads(file.read_text())) if file.exists() else set()

    def step(self, training, step):
        self.seen.add(step.step)
        training.log({"seen": len(self.seen)})

    def end(self, training, error):
        training.file("seen").write_text(json.dumps(sorted(self.seen)))


@part("callback", "on_the_main_process_alone")
class OnTheMainProcessAlone(Callback):
    everywhere = True

    def step(self, training, step):
        if training.is_main:
            training.sum(torch.ones(1))


CHANGING: list[Broken] = []
changing("what SIGTERM does", partial(signal.signal, signal.SIGTERM, signal.SIG_IGN))
changing("what SIGINT does", partial(signal.signal, signal.SIGINT, signal.SIG_IGN))
changing("the working folder", partial(os.chdir, os.sep))
changing("sys.stdout", partial(setattr, sys, "stdout", None))
changing("sys.stderr", lambda: setattr(sys, "stderr", io.StringIO()) or sys.stderr.close())
changing("whether gradients are computed", partial(torch.set_grad_enabled, False))
changing("whether anomalies are detected", partial(torch.autograd.set_detect_anomaly, True))
changing("the precision of matrix products", partial(torch.set_float32_matmul_precision, "medium"))
changing("PyTorch's default device", partial(torch.set_default_device, "meta"))
changing("whether algorithms are to be deterministic", partial(torch.use_deterministic_algorithms, True))
changing("PyTorch's default dtype", partial(torch.set_default_dtype, torch.float64))
changing("the number of PyTorch's threads", lambda: torch.set_num_threads(torch.get_num_threads() + 1))

BROKEN: list[Broken] = [
    (ALONE, DrawingGlobally, r"step\(\) changes PyTorch's global generator"),
    (ALONE, DrawingByNumPy, r"begin\(\) changes NumPy's global generator"),
    (ALONE, MovingWeights, r"checkpoint\(\) changes weights"),
    (ALONE, InEvaluationMode, r"step\(\) changes the mode of a module"),
    *CHANGING,
    (ALONE, ChangingWhereItChecks, r"check\(\) changes the working folder"),
    (ALONE, LeavingAThread, r"end\(\) leaves a thread running \(uploads\)"),
    (FAILS, FailingWhereItChecks, r"failing_where_it_checks fails in check\(\): ValueError: no refusal"),
    (FAILS, FailingAtTheEnd, r"callback failing_at_the_end: KeyError: 'board'"),
    (FAILS, WeightsAlone, "asks for weights, which takes all processes; let it say everywhere = True"),
    (FAILS, NothingFinite, "its figure ratio is nan, a float; let it be a finite int or float, or a list"),
    (FAILS, LogOfLogs, r"it asks for log\(\) where it is told of one"),
    (FAILS, ColoursAlone, "callback colours_alone: ValueError: no colours"),
    (callback_laws.writes_in_its_folder, BesideItsFolder, "writes elsewhere.txt beside its folder beside_its_folder"),
    (callback_laws.goes_on_as_if_never_stopped, CountingInMemory, "tells otherwise after a stop"),
    (callback_laws.goes_on_as_if_never_stopped, CountingWithoutSteps, "tells otherwise after a crash"),
    (callback_laws.goes_on_as_if_never_stopped, RememberingAtTheEnd, "tells otherwise after a crash"),
    (callback_laws.is_told_on_two_ranks, OnTheMainProcessAlone, "."),
]
