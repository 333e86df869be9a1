"""What prunepack uses of the machine it runs on."""

from __future__ import annotations

from . import _core


def isa() -> str:
    """Return the instruction set in use.

    It is the best one that this CPU can run, or the one that the environment variable ``PRUNEPACK_ISA``
    names. The results are the same with any, but for the sums of `linear`.

    Returns
    -------
    {"scalar", "neon", "avx2", "avx512"}

    Raises
    ------
    ValueError
        If ``PRUNEPACK_ISA`` names one that cannot run here.

    Examples
    --------
    >>> import prunepack as pp
    >>> pp.isa() in {"scalar", "neon", "avx2", "avx512"}
    True
    """
    return _core.isa()


def num_threads() -> int:
    """Return how many threads are used by default.

    It is ``PRUNEPACK_NUM_THREADS``, if the environment has that, else the number of cores that this process
    may use; the system is asked once, and again after a fork. No result depends on it.

    Raises
    ------
    ValueError
        If ``PRUNEPACK_NUM_THREADS`` is no number from 1 to 1024.

    Examples
    --------
    >>> import prunepack as pp
    >>> pp.num_threads() >= 1
    True
    """
    return _core.default_threads()
