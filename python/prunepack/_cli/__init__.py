"""The ``prunepack`` command."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ._commands import COMMANDS
from ._output import OutputError, writing_output
from ._parser import UsageError, build_parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from types import FrameType

__all__ = ["main"]

FAILED, USAGE, INTERRUPTED, READER_WENT = 1, 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after ``prunepack``; by default those of this process.

    Returns
    -------
    int
        0 when done, 1 when it failed or `verify` found a broken pattern, 2 when the
        command line is wrong, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    _print_anything()
    target = None
    try:
        options = _parsed(words)
        target = _target_of(options)
        with _clean_exit_when_terminated(), _logging_to_standard_error(options):
            status = _run(options)
            # Now, while what goes wrong can still be told.
            _flush_standard_output()
    except UsageError as error:
        return _fail(str(error), USAGE, debug="--debug" in words)
    except BrokenPipeError:
        return _reader_went()
    except KeyboardInterrupt:
        left = "" if target is None else f"; {target} was left as it was"
        return _fail(f"interrupted{left}", INTERRUPTED, debug="--debug" in words)
    except OutputError as error:
        _give_up_standard_output()
        return _fail(f"standard output: {_reason(error)}", FAILED, debug="--debug" in words)
    except OSError as error:
        return _fail(_of_os(error, target), FAILED, debug="--debug" in words)
    except MemoryError:
        return _fail("not enough memory for the largest tensor", FAILED, debug="--debug" in words)
    except (TypeError, ValueError, ModuleNotFoundError) as error:
        return _fail(str(error), FAILED, debug="--debug" in words)
    return status


def _parsed(words: list[str]) -> argparse.Namespace:
    """Parse the words; argparse prints help by itself, and says nothing if it could not."""
    try:
        return build_parser().parse_args(words)
    except SystemExit:
        _flush_standard_output()
        raise


def _target_of(options: argparse.Namespace) -> object:
    """Return the path that is written, if any is."""
    if getattr(options, "in_place", False):
        return options.source
    return getattr(options, "target", None)


def _run(options: argparse.Namespace) -> int:
    if options.command is None:
        msg = "name a command, such as prune, inspect or demo (see prunepack --help)"
        raise UsageError(msg)
    return COMMANDS[options.command](options)


def _fail(message: str, status: int, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"prunepack: {' '.join(message.split())}", file=sys.stderr)
    return status


@contextmanager
def _logging_to_standard_error(options: argparse.Namespace) -> Iterator[None]:
    """Show warnings, such as of leftovers removed; with -v also what is being done."""
    logger = logging.getLogger("prunepack")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("prunepack: %(message)s"))
    before = logger.level
    if getattr(options, "quiet", False):
        logger.setLevel(logging.ERROR)
    else:
        verbose = getattr(options, "verbose", False)
        logger.setLevel(logging.DEBUG if verbose else logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _of_os(error: OSError, target: object) -> str:
    """Say which file and why; an error of a write names no file, so it is the target's."""
    where = error.filename if error.filename is not None else target
    return _reason(error) if where is None else f"{where}: {_reason(error)}"


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    return reason[:1].lower() + reason[1:]


def _flush_standard_output() -> None:
    with writing_output():
        sys.stdout.flush()


def _reader_went() -> int:
    """Say nothing: whoever read standard output, such as head, has had enough."""
    _give_up_standard_output()
    return READER_WENT


def _give_up_standard_output() -> None:
    """Let what is still to be printed go nowhere, or Python would complain of it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@contextmanager
def _clean_exit_when_terminated() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that no temporary file stays behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _open_closed_streams() -> None:
    """Print into nothing where the caller closed a stream: Python then has None in its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  # to the end


def _print_anything() -> None:
    """Let names that the terminal's encoding lacks be printed with escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
