"""Standard output: what goes wrong there is told apart from what goes wrong with files."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class OutputError(OSError):
    """Standard output could not be written."""


@contextmanager
def writing_output() -> Iterator[None]:
    """Turn errors of the block into `OutputError`, but for that of a reader who left."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.errno, error.strerror) from error


def print_json(report: dict[str, Any]) -> None:
    """Print a report as JSON."""
    with writing_output():
        json.dump(report, sys.stdout, indent=2)
        sys.stdout.write("\n")
