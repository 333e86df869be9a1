"""What the functions over whole files have in common: paths, progress, names in errors."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .._errors import FormatError
from .._files import _format_of
from .._masks import prune_mask
from .._patterns import Threshold

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from .._arrays import Array
    from .._files import Tensor, TensorFile
    from .._masks import Mask

Progress = Callable[[str, int, int], None]
"""Called with the name of the tensor at hand, the bytes done so far, and all bytes to do."""


def source_path(path: str | os.PathLike[str]) -> Path:
    """Return `path`, which must not be a directory."""
    source = Path(path)
    if source.is_dir():
        msg = "is a directory; name one model file in it"
        raise IsADirectoryError(errno.EISDIR, msg, str(source))
    return source


def target_path(path: str | os.PathLike[str]) -> Path:
    """Return `path` if a file can be there; better said now than after hours of work."""
    target = Path(path)
    if target.is_dir():
        msg = "is a directory; name the file to write"
        raise IsADirectoryError(errno.EISDIR, msg, str(target))
    if not target.parent.is_dir():
        msg = "no such folder to write to; make it first"
        raise FileNotFoundError(errno.ENOENT, msg, str(target.parent))
    _format_of(target)
    return target


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the tensor's name before an error that does not know it."""
    try:
        yield
    except FormatError:
        raise
    except (TypeError, ValueError) as error:
        msg = f"tensor {name!r}: {error}"
        raise type(error)(msg) from error


class Work:
    """Going through the tensors of a file: reads each, tells how far it is, and lets it go.

    Parameters
    ----------
    file : TensorFile
        The file.
    progress : callable or None
        What to tell.
    sizes : sequence of int
        The bytes of each piece of work, in the order in which they will be done.
    """

    def __init__(self, file: TensorFile, progress: Progress | None, sizes: Sequence[int]) -> None:
        self._file = file
        self._progress = progress
        self._sizes = iter(sizes)
        self._total = sum(sizes)
        self._done = 0

    @contextmanager
    def on(self, name: str) -> Iterator[Tensor]:
        """Read the tensor for a block that works on it, whose errors will name it."""
        self._tell(name)
        with naming(name):
            yield self._file.read(name)
        # Otherwise the pages of the whole file would end up counted as this process's memory.
        self._file.release()
        self._done += next(self._sizes)
        self._tell(name)

    def _tell(self, name: str) -> None:
        if self._progress is not None:
            self._progress(name, self._done, self._total)


def nonzero(weights: Array, num_threads: int | None) -> Mask:
    """Return the mask of the weights that are not zero, of either sign."""
    return prune_mask(weights, Threshold(0.0), num_threads=num_threads)
