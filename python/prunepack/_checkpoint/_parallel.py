"""Work on the tensors of a checkpoint on several threads, with a limit on the bytes at hand."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from .._arrays import resolve_threads
from .._machine import isa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

Result = TypeVar("Result")

# Tensors at hand have at most so many bytes together, unless one alone has more. What is made of
# them takes about as much again.
BYTES_AT_HAND = 448 << 20

# From this size on a tensor is worth all threads; below it, tensors are worked on side by side.
LARGE = 64 << 20


def in_order(
    names: Iterable[str],
    sizes: Mapping[str, int],
    function: Callable[[str, int], Result],
    num_threads: int | None,
) -> Iterator[tuple[str, Result]]:
    """Call a function for each tensor, and yield its results in the order of `names`.

    Parameters
    ----------
    names : iterable of str
        The tensors.
    sizes : mapping of str to int
        Their bytes.
    function : callable
        Called with a name and how many threads it may use, from several threads at once.
    num_threads : int or None
        Threads to use; by default all cores this process may use.

    Notes
    -----
    A result counts as at hand until the next one is asked for. An exception of `function` is raised
    in its place; what has not begun by then never does.
    """
    threads = resolve_threads(num_threads)
    isa()  # a PRUNEPACK_ISA that cannot run here is no tensor's fault
    if threads == 1:
        for name in names:
            yield name, function(name, 1)
        return
    waiting = deque(names)
    at_hand: deque[tuple[str, Future[Result]]] = deque()
    nbytes = 0
    pool = ThreadPoolExecutor(threads, thread_name_prefix="prunepack")
    try:
        while waiting or at_hand:
            while waiting and (
                not at_hand
                or (len(at_hand) <= threads and nbytes + sizes[waiting[0]] <= BYTES_AT_HAND)
            ):
                name = waiting.popleft()
                each = threads if sizes[name] >= LARGE else 1
                at_hand.append((name, pool.submit(function, name, each)))
                nbytes += sizes[name]
            name, future = at_hand[0]
            yield name, future.result()
            at_hand.popleft()
            nbytes -= sizes[name]
            del future
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
