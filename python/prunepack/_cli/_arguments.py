"""The words of the command line: one typed reader for each kind of value."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from .. import _words
from .._patterns import NM, Block, Threshold, Unstructured

if TYPE_CHECKING:
    from .._patterns import Pattern

Value = TypeVar("Value")

MOST_THREADS = 1024  # what the kernels take

PATTERN_OPTIONS = ("--sparsity", "--nm", "--block", "--threshold")


def sparsity(text: str) -> float:
    """Read ``0.75`` or ``75%``."""
    percent = text.endswith("%")
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        msg = f"must be a number from 0 to 1, or a percentage such as 75%, got {text!r}"
        raise argparse.ArgumentTypeError(msg) from None
    value = value / 100 if percent else value
    if not 0 <= value <= 1:
        msg = f"must be from 0 to 1, or a percentage such as 75%, got {text}"
        raise argparse.ArgumentTypeError(msg)
    return value


def threshold(text: str) -> float:
    """Read a magnitude, such as ``1e-3``."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not value >= 0:
        msg = f"must be a number that is not negative, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return value


def zeros_of(text: str) -> tuple[int, int]:
    """Read ``3:4``: three zeros in every four weights."""
    return _read(_words.zeros_of, text)


def tile(text: str) -> tuple[int | None, ...]:
    """Read ``4x1``, where ``*`` is a whole axis."""
    return _read(_words.tile, text)


def size(text: str) -> int:
    """Read ``3GB``, ``512 MiB`` or a number of bytes."""
    return _read(_words.size, text)


def _read(reader: Callable[[str], Value], text: str) -> Value:
    try:
        return reader(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def at_least(least: int, text: str) -> int:
    """Read an integer that is no smaller than `least`."""
    digits = text.replace(",", "").replace("_", "")
    if not _words.is_natural(digits) or int(digits) < least:
        msg = f"must be an integer that is at least {least}, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(digits)


def count(text: str) -> int:
    """Read an integer from 0 up."""
    return at_least(0, text)


def positive(text: str) -> int:
    """Read an integer from 1 up."""
    return at_least(1, text)


def threads(text: str) -> int:
    """Read a number of threads."""
    number = positive(text)
    if number > MOST_THREADS:
        msg = f"must be at most {MOST_THREADS}, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return number


def matrix_shape(text: str) -> tuple[int, int]:
    """Read ``4096x11008``: outputs, inputs."""
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(_words.is_natural(side) and int(side) > 0 for side in sides):
        msg = f"must be OUTxIN, the outputs and inputs of a layer, such as 4096x11008, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(sides[0]), int(sides[1])


def batches(text: str) -> tuple[int, ...]:
    """Read ``1,4,16``."""
    return tuple(at_least(1, part) for part in text.split(","))


def patterns(text: str) -> dict[str, Pattern]:
    """Read ``50%,2:4,16x1@75%``: patterns by the words for them."""
    return {word: _pattern_of(word) for word in text.split(",")}


def _pattern_of(word: str) -> Pattern:
    try:
        if ":" in word:
            return NM(*zeros_of(word))
        shape, separator, share = word.partition("@")
        return Block(tile(shape), sparsity(share)) if separator else Unstructured(sparsity(word))
    except (argparse.ArgumentTypeError, ValueError) as error:
        msg = f"must be patterns such as 50%,3:4,16x1@75%, got {word!r}: {error}"
        raise argparse.ArgumentTypeError(msg) from None


def pattern_from(options: argparse.Namespace, *, needed: bool) -> Pattern | None:
    """Put the pattern options together, or say which of them do not go together.

    Without any the result is None, if none is `needed`.

    Raises
    ------
    ValueError
        If the options name no pattern, name two, or one of them lacks its partner.
    """
    if not _check_one_pattern(options, needed=needed):
        return None
    if options.nm is not None:
        n, m = options.nm
        return NM(n, m, axis=1 if options.axis is None else options.axis)
    if options.threshold is not None:
        return Threshold(options.threshold)
    if options.block is not None:
        return Block(options.block, options.sparsity, norm=options.norm or "l2")
    given = {key: getattr(options, key) for key in _words.MODEL_KEYS}
    more = {key: value for key, value in given.items() if value is not None}
    return Unstructured(options.sparsity, scope=options.scope or "tensor", **more)


def _check_one_pattern(options: argparse.Namespace, *, needed: bool) -> bool:
    given = [name for name in PATTERN_OPTIONS if getattr(options, name[2:]) is not None]
    if not given and needed:
        msg = (
            "name what to prune: --sparsity, --nm, --threshold, --block with --sparsity, or --rules"
        )
        raise ValueError(msg)
    if given == ["--block"]:
        msg = "--block needs --sparsity, the share of its tiles to prune"
        raise ValueError(msg)
    if len(given) > 1 and given != ["--sparsity", "--block"]:
        msg = f"{' and '.join(given)} cannot be given together; each is a pattern of its own"
        raise ValueError(msg)
    for option, needs in (("--norm", "--block"), ("--axis", "--nm")):
        if getattr(options, option[2:]) is not None and needs not in given:
            msg = f"{option} goes with {needs}, which was not given"
            raise ValueError(msg)
    for key in _words.MODEL_KEYS:
        if getattr(options, key) is not None and options.scope != "model":
            msg = f"--{key.replace('_', '-')} goes with --scope model, which was not given"
            raise ValueError(msg)
    if options.scope is not None and given != ["--sparsity"]:
        told = f", not with {given[-1]}" if given else ", which was not given"
        msg = f"--scope goes with --sparsity alone{told}"
        raise ValueError(msg)
    return bool(given)
