"""Looks after a job of several processes, one of which may stop and be waited for by all others.

A process that ends is noticed at once, since its connections close. One that has been stopped (SIGSTOP, a swapped out
machine) or hangs (a dead network disk) keeps them open, and whoever waits for it waits inside PyTorch, where no Python
runs, not even the handler of a signal. So a thread looks at the others' signs of life, and ends this process:

- A process is silent when it gives no sign of life. That it has come to fewer exchanges than this one counts too while
  training, whose steps are alike; elsewhere its share of the work may be larger. Two that have come to exchanges of
  different kinds wait for each other in vain, whatever they do.
- After ``timeout`` seconds of that, or after a few where the job has been asked to stop, the lowest process that is
  left tells of it, ends the silent ones on its machine (the launcher would wait for them), saves if it can, and all
  end with one exit code.
- A job that has been asked to stop, and whose exchange does not end for ``timeout`` seconds from then on, and longer
  than any of its kind before, is ended likewise if nobody is still on the way to it: also where the launcher is gone,
  and with it the store.
- While the main process saves or draws it gives signs of life, however long that takes.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from zoo.distributed.beats import Beats, interval
from zoo.distributed.launch import leave_exit_code
from zoo.distributed.silence import Silence
from zoo.errors import FaultError, Preempted, RunError, ZooError, first_line, printable, reason_not_saved
from zoo.signals import stop_signals


@dataclass(frozen=True)
class Work:
    """What a job does that a silent process keeps from going on.

    Attributes:
        step: tells the updates done.
        rescue: saves what this process holds, without the others, and tells what there is to go on from; raises why
            it has not.
    """

    step: Callable[[], int]
    rescue: Callable[[], str]


class Watch:
    """Ends this process where another one no longer answers.

    Args:
        store: in which the processes have met.
        rank: this process.
        size: how many there are.
        timeout: seconds to wait for a process that gives no sign of life.
        store_host: the process that holds the store, if it is one of the job's.
    """

    def __init__(self, store: Any, rank: int, size: int, timeout: float, store_host: int | None) -> None:
        self.rank, self.timeout, self._size = rank, timeout, size
        self.work: Work | None = None
        self._met = (0, "")
        self.beats = Beats(store, rank, size, interval(size, timeout), lambda: self._met)
        self._waits = False
        self._asked = False
        self._busy = threading.Lock()
        self._silence = Silence(rank, size, timeout, self.beats.pause, store_host)
        self._at_work = 0.0
        self._signals, self._bell = socket.socketpair()
        self._signals.setblocking(False)
        self._bell.setblocking(False)
        self._thread = threading.Thread(target=self._look, name="zoo watch", daemon=True)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look after the job."""
        main = threading.current_thread() is threading.main_thread()
        before = signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False) if main else -1
        self.beats.start()
        self._thread.start()
        try:
            yield
        finally:
            with self._busy:  # for ever, where it is ending this process
                pass
            self._bell.shutdown(socket.SHUT_WR)
            self._thread.join()
            if main:
                signal.set_wakeup_fd(before)
            self.beats.stop()
            self._signals.close()
            self._bell.close()

    @contextmanager
    def working(self, step: Callable[[], int], rescue: Callable[[], str]) -> Iterator[None]:
        """While this goes on the processes go in step, and there is something to save."""
        self.work = Work(step, rescue)
        try:
            yield
        finally:
            with self._busy:
                self.work = None

    @contextmanager
    def meeting(self, kind: str) -> Iterator[None]:
        """Exchange something with the other processes."""
        self._met = (self._met[0] + 1, kind)  # at once, since other threads read it
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
            with self._busy:
                pass

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Do what must not be cut short, such as an update of the weights."""
        with self._busy:
            yield

    def _look(self) -> None:
        while True:
            since = time.monotonic()
            ready, _, _ = select.select([self._signals], [], [], self.beats.pause)
            if ready:
                numbers = self._signals.recv(4096)
                if not numbers:
                    return
                self._asked = self._asked or any(number in stop_signals() for number in numbers)
            seconds = time.monotonic() - since
            silent = self._count(seconds)
            self._note_long_work(seconds)
            ends = silent or self._silence.cut_off() or any(beat.ends for beat in self.beats.seen)
            if ends and self._busy.acquire(blocking=False):
                self._end(silent)

    def _count(self, seconds: float) -> dict[int, float]:
        """Note a round, and tell who is no longer waited for."""
        beats, works = self.beats, self._busy.locked()
        self._silence.count(
            seconds, beats.rounds, beats.seen, *self._met, waits=self._waits, works=works, asked=self._asked
        )
        return self._silence.given_up(in_step=self.work is not None)

    def _note_long_work(self, seconds: float) -> None:
        """Tell from time to time that the main process still works while the others wait."""
        if self.rank != 0 or not self._busy.locked():
            self._at_work = 0.0
            return
        before, self._at_work = self._at_work, self._at_work + seconds
        if before // self.timeout < self._at_work // self.timeout:
            _say(f"note: process {self.rank} still saves, draws or judges, after {self._at_work:.0f} s; others wait")

    def _end(self, silent: dict[int, float]) -> NoReturn:
        """End this process, whatever fails meanwhile: the main thread waits for it."""
        code = FaultError.exit_code
        try:
            code = self._ending(silent)
            leave_exit_code(code)
        except Exception as error:
            _say(f"error: a fault of zoo: process {self.rank} ends by {type(error).__name__}: {first_line(error)}")
        finally:
            os._exit(code)

    def _ending(self, silent: dict[int, float]) -> int:
        """The exit code of all; the lowest of those that are left tells why, and saves."""
        unheard, rounds = 0.0, self.beats.rounds
        cut_off = not silent and not any(beat.ends for beat in self.beats.seen)
        while True:
            codes = [beat.code for beat in self.beats.seen if beat.code is not None]
            if codes:
                return codes[0]
            if silent and self.rank == min(set(range(self._size)) - silent.keys()):
                return self._tell_and_save(silent)
            if unheard > self.timeout:  # the store has gone with a process that held it: nobody can be heard any more
                words = f"{self._where()}asked to stop, but the others cannot be heard (is the launcher gone?)"
                return self._save_and_tell(words) if cut_off else RunError.exit_code
            time.sleep(self.beats.pause)
            unheard = 0.0 if self.beats.rounds > rounds else unheard + self.beats.pause
            rounds = self.beats.rounds
            silent = self._count(self.beats.pause)

    def _tell_and_save(self, silent: dict[int, float]) -> int:
        others_live = len(silent) + 1 < self._size or self._silence.heard()  # some that are ended may: elsewhere
        if others_live:  # or they would tell that the processes that are killed have ended
            self.beats.announce()
        beats = {rank: self.beats.seen[rank] for rank in silent}
        if 0 in silent:  # which holds the run's folder, until it is gone
            beats[0].kill()
        code = self._save_and_tell(self._words(silent))
        for rank, beat in beats.items():
            leave_exit_code(code, rank)
            beat.kill()
        if others_live:
            self.beats.announce(code)
        return code

    def _save_and_tell(self, words: str) -> int:
        error: ZooError = RunError(words)
        if self.work is not None:
            try:
                saved = self.work.rescue()
                kind = Preempted if self._asked else RunError
                error = kind(f"{error}; {saved}")
            except Exception as caught:
                error = RunError(f"{error}; not saved: {reason_not_saved(caught)}")
        _say(f"{'stopped' if isinstance(error, Preempted) else 'error'}: {error}")
        return error.exit_code

    def _words(self, silent: dict[int, float]) -> str:
        ranks = [str(rank) for rank in sorted(silent)]
        who = f"process {ranks[0]} has" if len(ranks) == 1 else f"processes {', '.join(ranks)} have"
        asked = "asked to stop, but " if self._asked else ""
        limit = "" if self._asked else " (train.timeout)"
        return f"{self._where()}{asked}{who} not answered for {_rounded(max(silent.values()))} s{limit}"

    def _where(self) -> str:
        return "" if self.work is None else f"step {self.work.step() + 1}: "


def _say(text: str) -> None:
    with suppress(OSError):  # nobody reads it
        os.write(2, f"{printable(text)}\n".encode("utf-8", "replace"))  # whatever lock the main thread holds


def _rounded(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 1 else f"{seconds:.1g}"
