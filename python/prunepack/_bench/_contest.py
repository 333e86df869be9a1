"""Contests: several ways to do the same work take turns, and their times are compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Work: TypeAlias = "Callable[[], object]"

# Long enough for a clock to measure. Within a turn a small matrix stays in the caches, as the only
# one of its size would.
TURN_SECONDS = 1e-3
FEWEST_ROUNDS, MOST_ROUNDS = 5, 101
# OpenMP's idle threads and OpenBLAS's keep their cores for a while, which the next in turn needs.
REST_SECONDS = 0.03


@dataclass(frozen=True)
class Outcome:
    """The time of a call in each round, by the name of who did the work."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Return the median time of a call."""
        return statistics.median(self.seconds[name])

    def fastest(self) -> str:
        """Name the one with the least median."""
        return min(self.seconds, key=self.median)

    def times_faster(self, name: str, than: str) -> tuple[float, float, float]:
        """Return the 10th, 50th and 90th percentile of the ratios of times in one round."""
        pairs = zip(self.seconds[than], self.seconds[name], strict=True)
        ratios = sorted(theirs / ours for theirs, ours in pairs)
        tenths = statistics.quantiles(ratios, n=10, method="inclusive")
        return tenths[0], statistics.median(ratios), tenths[-1]


def take_turns(works: Mapping[str, Work], *, threads: int, seconds: float) -> Outcome:
    """Let each do its work in turn, again and again.

    Parameters
    ----------
    works : mapping of str to callable
        What each calls. Nothing else may go on in the process.
    threads : int
        How many they use. The time of one is that of the processor, which leaves out what else the
        machine does; that of several is the time on the clock.
    seconds : float
        How long to go on, once each has had `FEWEST_ROUNDS` turns.

    Returns
    -------
    Outcome
        The times.
    """
    clock = time.thread_time if threads == 1 else time.perf_counter
    calls = {name: _calls_in_a_turn(work) for name, work in works.items()}
    outcome = Outcome({name: [] for name in works})
    end = time.perf_counter() + seconds
    for done in range(MOST_ROUNDS):
        if done >= FEWEST_ROUNDS and time.perf_counter() >= end:
            break
        for name, work in works.items():
            if threads > 1:
                time.sleep(REST_SECONDS)
            outcome.seconds[name].append(_turn(work, calls[name], clock, warm=threads > 1))
    return outcome


def _turn(work: Work, calls: int, clock: Callable[[], float], *, warm: bool) -> float:
    if calls > 1 or warm:
        work()  # brings into the caches what the one before drove out, and wakes threads
    start = clock()
    for _ in range(calls):
        work()
    return max(clock() - start, 1e-9) / calls


def _calls_in_a_turn(work: Work) -> int:
    work()
    start = time.perf_counter()
    work()
    return max(1, round(TURN_SECONDS / max(time.perf_counter() - start, 1e-9)))
