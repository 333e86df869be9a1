"""The errors prunepack raises beyond Python's own."""

from __future__ import annotations


class FormatError(ValueError):
    """A file does not hold what its format requires.

    The message names the file and, where there is one, the tensor: what must hold, then
    what was found.
    """
