"""How long each process of a job has been silent, and which of them are no longer waited for.

Time is counted by rounds of whoever looks, each of which counts for little: a job that has been stopped as a whole
(Ctrl-Z), and goes on, has not been silent.
"""

from __future__ import annotations

from collections.abc import Sequence

from zoo.distributed.beats import Beat

GRACE = 5.0
"""Seconds without a sign of life after which a process is no longer waited for where the job has been asked to stop."""

LATE = 30.0
"""The same of a process that lives, but has not come to the exchange that others wait in."""


class Silence:
    """Counts the seconds in which processes have given no sign of life, or have not come to where others wait.

    Args:
        rank: who looks.
        size: how many processes there are.
        timeout: seconds after which a process is no longer waited for.
        pause: seconds between two signs of life.
        store_host: the process in which the signs are kept, if it is one of the job's.
    """

    def __init__(self, rank: int, size: int, timeout: float, pause: float, store_host: int | None) -> None:
        self.rank, self.timeout, self.pause = rank, timeout, pause
        self._store_host = store_host
        self._store = 0.0
        self._silent, self._late, self._elsewhere = [0.0] * size, [0.0] * size, [0.0] * size
        self._counts = [-1] * size
        self._meetings = self._rounds = -1
        self._stands_in = (-1, "")
        self._lasts, self._longest = 0.0, dict[str, float]()
        self._asked, self._since = False, 0.0

    def count(
        self,
        seconds: float,
        rounds: int,
        beats: Sequence[Beat],
        meetings: int,
        kind: str,
        *,
        waits: bool,
        works: bool,
        asked: bool,
    ) -> None:
        """Take note of a round.

        Args:
            seconds: since the last one.
            rounds: how often signs of life have been fetched.
            beats: the last sign of each process.
            meetings: the exchanges that this process has come to.
            kind: of the last one.
            waits: whether it is in it.
            works: whether it does something there for which the others wait.
            asked: whether the job has been asked to stop.
        """
        seconds = min(seconds, 2 * self.pause)
        self._asked, self._since = asked, self._since + seconds if asked else 0.0
        stands = waits and not works and (meetings, kind) == self._stands_in
        if not stands:
            last = self._stands_in[1]
            self._longest[last] = max(self._longest.get(last, 0.0), self._lasts)
        self._stands_in, self._lasts = (meetings, kind), self._lasts + seconds if stands else 0.0
        self._store += seconds
        if rounds == self._rounds:
            return
        seconds, self._rounds, self._store = min(self._store, 2 * self.pause), rounds, 0.0
        waits = waits and meetings == self._meetings
        for rank, beat in enumerate(beats):
            self._silent[rank] = self._silent[rank] + seconds if beat.count == self._counts[rank] else 0.0
            self._late[rank] = self._late[rank] + seconds if waits and beat.meetings < meetings else 0.0
            elsewhere = waits and beat.meetings == meetings and beat.kind != kind
            self._elsewhere[rank] = self._elsewhere[rank] + seconds if elsewhere else 0.0
            self._counts[rank] = beat.count
        self._meetings = meetings

    def given_up(self, *, in_step: bool) -> dict[int, float]:
        """The processes that are no longer waited for, and the seconds of their silence.

        Args:
            in_step: whether all processes have the same to do, so that one which is late does not get on.
        """
        patience, lateness = self._patience(), min(self.timeout, LATE) if self._asked else self.timeout
        on_their_way = self._store <= self.timeout and any(self._late)  # they live, or are silent
        if self.rank == 0 and self._stands_still() and not on_their_way:
            return dict.fromkeys(range(1, len(self._silent)), min(self._lasts, self._since))
        if self._store > patience:
            return {} if self._store_host in (None, self.rank) else {self._store_host: self._store}
        found = {}
        for rank, (silent, late) in enumerate(zip(self._silent, self._late, strict=True)):
            if not in_step:
                late = 0.0
            elif self._asked:  # which it has to be able to heed
                late = min(late, self._since)
            if rank != self.rank and (silent > patience or late > lateness):
                found[rank] = max(silent, late)
            if rank > self.rank and self._elsewhere[rank] > lateness:  # it finds the same, and one of both is to go on
                found[rank] = self._elsewhere[rank]
        return found

    def cut_off(self) -> bool:
        """Whether this process waits in vain, and cannot hear of the others, of which the first may end the job."""
        return self._stands_still() and self._store > self.timeout

    def heard(self) -> bool:
        """Whether any other process gives signs of life, and hears those of this one."""
        others = (silent for rank, silent in enumerate(self._silent) if rank != self.rank)
        return self._store <= self._patience() and min(others) <= self._patience()

    def _patience(self) -> float:
        return min(self.timeout, max(GRACE, 3 * self.pause)) if self._asked else self.timeout

    def _stands_still(self) -> bool:
        """Whether this exchange has gone on too long since the job was asked to stop.

        One that lasts as long as those of its kind before it may be long steps, or large shares.
        """
        return min(self._lasts, self._since) > self.timeout + self._longest.get(self._stands_in[1], 0.0)
