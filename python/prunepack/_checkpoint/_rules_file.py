"""Rules in a TOML file."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from .. import _words
from .._errors import FormatError
from .._regular import read_text
from .._strict_json import reason, shown
from ._rules import Rule, Rules

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Made = TypeVar("Made")

SIZE_LIMIT = 1_000_000
CONDITIONS = (
    "name",
    "regex",
    "dtype",
    "shape",
    "min_rank",
    "max_rank",
    "min_size",
    "max_size",
)
# A string, or a comment; one that does not end goes on to where it has to.
_TEXT = re.compile(
    r'"""[\s\S]*?(?:"""|\Z)'
    r"|'''[\s\S]*?(?:'''|\Z)"
    r'|"(?:\\.|[^"\\\n])*"?'
    r"|'[^'\n]*'?|#[^\n]*"
)
_MOST_DOTS = 32
_LONGEST_KEY = 100  # that is shown whole


def load_rules(path: str | os.PathLike[str]) -> Rules:
    """Read rules from a TOML file.

    At the top there may be a pattern for the weights that no rule is about: ``sparsity``, with
    ``scope``; ``nm``, with ``axis``; ``block``, with ``sparsity`` and ``norm``; or ``threshold``. Each
    ``[[rule]]`` has conditions, named as the arguments of `Rule` (in ``shape``, ``"*"`` is any
    extent), and either such a pattern or ``then``, which is ``"skip"`` or ``"keep dense"``.

    Parameters
    ----------
    path : path-like
        The file, of at most 1 MB.

    Returns
    -------
    Rules
        The rules in the order of the file.

    Raises
    ------
    FormatError
        If the file is no TOML, or a key is unknown or has a value that cannot be; the message names
        file, rule and key.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import prunepack as pp
    >>> from pathlib import Path
    >>> _ = Path("rules.toml").write_text('''
    ... nm = "2:4"
    ...
    ... [[rule]]
    ... name = "*.layers.0.*"
    ... then = "skip"
    ...
    ... [[rule]]
    ... name = ["*.up_proj.*", "*.down_proj.*"]
    ... sparsity = 0.75
    ... ''')
    >>> pp.load_rules("rules.toml").rules[0]
    Rule(then='skip', name=('*.layers.0.*',))
    """
    file = Path(path)
    tree = _parsed(read_text(file, SIZE_LIMIT), str(file))
    tables = tree.pop("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        msg = f"{file}: rule: must be tables, each headed [[rule]], got {shown(tables)}"
        raise FormatError(msg)
    _check_keys(tree, _words.KEYS, str(file))
    otherwise = _of(_words.pattern_of, tree, str(file)) if tree else None
    rules = [_rule(table, f"{file}: rule {number}") for number, table in enumerate(tables, 1)]
    return Rules(tuple(rules), otherwise)


def _parsed(text: str, where: str) -> dict[str, Any]:
    # What tomllib needs for a key grows with the square of its parts.
    if any(line.count(".") > _MOST_DOTS for line in _TEXT.sub("", text).splitlines()):
        msg = (
            f"{where}: a line must have at most {_MOST_DOTS} dots outside of strings, one has more"
        )
        raise FormatError(msg)
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, and what int() says of too many digits
        msg = f"{where}: must be TOML: {reason(error)}"
    except RecursionError:
        msg = f"{where}: must nest a few levels, nests too deeply"
    raise FormatError(msg)


def _rule(table: dict[str, Any], where: str) -> Rule:
    _check_keys(table, (*CONDITIONS, "then", *_words.KEYS), where)
    keys = {key: value for key, value in table.items() if key in _words.KEYS}
    if ("then" in table) == bool(keys):
        msg = f"{where}: must have either 'then' or a pattern, got {', '.join(table) or 'nothing'}"
        raise FormatError(msg)
    then = table["then"] if "then" in table else _of(_words.pattern_of, keys, where)
    if "then" in table and not isinstance(then, str):
        msg = f"{where}: then: must be 'skip' or 'keep dense', got {shown(then)}"
        raise FormatError(msg)
    conditions = {key: value for key, value in table.items() if key in CONDITIONS}
    for key in ("min_rank", "max_rank", "min_size", "max_size"):
        if key in conditions and type(conditions[key]) is not int:
            msg = f"{where}: {key}: must be an integer, got {shown(conditions[key])}"
            raise FormatError(msg)
    if "shape" in conditions:
        conditions["shape"] = _shape(conditions["shape"], where)
    return _of(lambda given: Rule(then, **given), conditions, where)


def _check_keys(table: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            named = key if len(key) <= _LONGEST_KEY else shown(key)
            msg = f"{where}: {named}: unknown; known are {', '.join(known)}"
            raise FormatError(msg)


def _shape(value: Any, where: str) -> tuple[int | None, ...]:
    if not isinstance(value, list) or not all(v == "*" or type(v) is int for v in value):
        msg = f"{where}: shape: must be a list of integers and '*', got {shown(value)}"
        raise FormatError(msg)
    return tuple(None if extent == "*" else extent for extent in value)


def _of(make: Callable[[dict[str, Any]], Made], keys: dict[str, Any], where: str) -> Made:
    """Make something of keys; its complaint gets a place, and the key if it does not begin with it."""
    try:
        return make(keys)
    except (TypeError, ValueError) as error:
        told = str(error)
        first = told.partition(":")[0].partition(" ")[0]
        if first not in (*CONDITIONS, "then", *_words.KEYS):
            told = f"{_guilty(first, keys)}: {told}"
        elif not told.startswith(f"{first}:"):
            told = f"{first}:{told.removeprefix(first)}"
        msg = f"{where}: {told}"
        raise FormatError(msg) from None


def _guilty(first: str, keys: dict[str, Any]) -> str:
    """Return the key of a file that a complaint about an argument of a pattern comes from."""
    if first in ("n", "m"):
        return "nm"
    if first == "value":
        return "threshold"
    return "block" if "block" in keys else next(iter(keys), "rule")
