"""JSON as a file from a stranger must be read: no duplicate keys, natural numbers only."""

from __future__ import annotations

import json
import re
import reprlib
from collections import Counter
from typing import Any, NoReturn

from ._errors import FormatError

INTEGER_LIMIT = 2**63 - 1
_NATURAL = re.compile(r"[0-9]{1,19}")

_LONGEST_REASON = 200

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 100
_short.maxlist = _short.maxtuple = 10


def shown(value: object) -> str:
    """Show a value of any size in an error message of bounded length."""
    return _short.repr(value)


def reason(error: BaseException) -> str:
    """Return what another library says of a stranger's bytes, which it may quote at length."""
    text = str(error)
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def is_unicode(text: str) -> bool:
    """Tell whether a string is Unicode text: Python's may hold half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Object(list[tuple[str, Any]]):
    """A JSON object as the pairs in which it was written, duplicates and all."""

    def members(self, where: str) -> dict[str, Any]:
        """Turn the pairs into a dict; `where` begins the error message for a duplicate."""
        members = dict(self)
        if len(members) < len(self):
            ((key, _),) = Counter(key for key, _ in self).most_common(1)
            msg = f"{where}: key {shown(key)} must appear once, it appears again"
            raise FormatError(msg)
        return members


def parse(text: str, where: str, *, any_number: bool = False) -> Any:
    """Parse `text`; objects come back as `Object`. `where` begins every error message.

    With `any_number` numbers may be whatever Python's reader takes, as in a ``config.json``.

    Raises
    ------
    FormatError
        If the text is not JSON, nests too deeply, holds a number that is not a natural one below
        2**63, or a string that is no Unicode text.
    """

    def refuse(number: str) -> NoReturn:
        msg = f"{where}: numbers must be natural and below 2**63, got {number[:40]}"
        raise FormatError(msg)

    def natural(digits: str) -> int:
        if not _NATURAL.fullmatch(digits) or int(digits) > INTEGER_LIMIT:
            refuse(digits)
        return int(digits)

    def unicode_pairs(pairs: list[tuple[str, Any]]) -> Object:
        for string in (item for pair in pairs for item in pair if isinstance(item, str)):
            if not is_unicode(string):
                msg = (
                    f"{where}: strings must be Unicode, {shown(string)} holds half a surrogate pair"
                )
                raise FormatError(msg)
        return Object(pairs)

    try:
        return json.loads(
            text,
            object_pairs_hook=unicode_pairs,
            parse_int=None if any_number else natural,
            parse_float=None if any_number else refuse,
            parse_constant=None if any_number else refuse,
        )
    except json.JSONDecodeError as error:
        msg = f"{where}: must be JSON, breaks at character {error.pos}"
    except RecursionError:
        msg = f"{where}: must nest a few levels, nests too deeply"
    except ValueError as error:
        if isinstance(error, FormatError):
            raise
        msg = f"{where}: numbers must have fewer digits"  # int() takes some thousands at most
    raise FormatError(msg)


def plain(value: Any, where: str) -> Any:
    """Turn what `parse` returned into dicts, lists and scalars.

    Raises
    ------
    FormatError
        If an object has a key twice, or they nest too deeply.
    """
    try:
        return _plain(value, where)
    except RecursionError:
        msg = f"{where}: must nest a few levels, nests too deeply"
    raise FormatError(msg)


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Object):
        return {key: _plain(item, where) for key, item in value.members(where).items()}
    if isinstance(value, list):
        return [_plain(item, where) for item in value]
    return value
