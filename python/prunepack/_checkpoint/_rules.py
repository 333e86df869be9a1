"""Rules: what is done to which tensors of a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from .._globs import any_match
from .._patterns import Pattern, check_pattern, integer
from .._strict_json import reason, shown

if TYPE_CHECKING:
    from .._tensor_info import TensorInfo

LeftAlone: TypeAlias = Literal["skip", "keep dense"]
_MOST_REGEX = 10_000  # Python takes seconds to compile one of some 100,000


@dataclass(frozen=True)
class Rule:
    """What is done to the tensors that meet every condition given; no condition is met by all.

    Parameters
    ----------
    then : Pattern or "skip" or "keep dense"
        A pattern prunes the tensor. ``"skip"`` leaves it as it is stored, packed or dense, bit for
        bit. ``"keep dense"`` does not prune it either, but stores it dense, unpacking it if need be,
        and `pack_checkpoint` does not pack it.
    name : str or sequence of str, optional
        A glob over the whole name, as the shell knows them (``*`` also matches dots), or several
        of which one must match.
    regex : str, optional
        A regular expression that must be found somewhere in the name; ``^`` and ``$`` tie it down. At
        most 10,000 characters.
    dtype : str or sequence of str, optional
        A safetensors code such as ``"BF16"``, or several.
    shape : sequence of (int or None), optional
        The dense shape; None is any extent.
    min_rank, max_rank, min_size, max_size : int, optional
        The fewest and most dimensions and elements.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `then` is no known word, or `regex` is no regular expression.

    Examples
    --------
    >>> import prunepack as pp
    >>> pp.Rule(pp.NM(2, 4), name="*.mlp.*", min_rank=2)
    Rule(then=NM(n=2, m=4, axis=1), name=('*.mlp.*',), min_rank=2)
    """

    then: Pattern | LeftAlone
    name: str | Sequence[str] | None = None
    regex: str | None = None
    dtype: str | Sequence[str] | None = None
    shape: Sequence[int | None] | None = None
    min_rank: int | None = None
    max_rank: int | None = None
    min_size: int | None = None
    max_size: int | None = None

    def __post_init__(self) -> None:
        _check_then(self.then)
        for argument in ("name", "dtype"):
            object.__setattr__(self, argument, _strings(argument, getattr(self, argument)))
        if self.regex is not None:
            _compiled(self.regex)
        if self.shape is not None:
            object.__setattr__(self, "shape", _extents(self.shape))
        for argument in ("min_rank", "max_rank", "min_size", "max_size"):
            value = getattr(self, argument)
            if value is not None:
                object.__setattr__(self, argument, integer(argument, value))

    def __repr__(self) -> str:
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        told = (f"{name}={value!r}" for name, value in given.items() if value is not None)
        return f"Rule({', '.join(told)})"

    def __str__(self) -> str:
        """Return what it asks of a tensor, in short."""
        if self.regex is not None:
            return f"/{self.regex}/"
        if self.name is not None:
            return ", ".join(self.name)
        given = {name: getattr(self, name) for name in tuple(self.__dataclass_fields__)[3:]}
        told = [f"{name} {value}" for name, value in given.items() if value is not None]
        return ", ".join(told) or "every tensor"

    def matches(self, name: str, info: TensorInfo) -> bool:
        """Tell whether a tensor meets every condition."""
        return (
            (self.name is None or any_match(name, self.name))
            and (self.regex is None or _compiled(self.regex).search(name) is not None)
            and (self.dtype is None or info.dtype in self.dtype)
            and (self.shape is None or _fits(info.shape, self.shape))
            and _between(len(info.shape), self.min_rank, self.max_rank)
            and _between(prod(info.shape), self.min_size, self.max_size)
        )


@dataclass(frozen=True)
class Rules:
    """Rules in their order, and a pattern for the weights that none of them is about.

    The first rule a tensor matches decides. A tensor that matches none, and is no weight by the
    built-in defaults, is skipped: embeddings, output heads, norms, biases and small tensors. What is
    then left gets `otherwise`, or is skipped if there is none.

    Parameters
    ----------
    rules : sequence of Rule
        In the order in which they are asked.
    otherwise : Pattern, optional
        For the weights that no rule is about.

    Raises
    ------
    TypeError
        If `rules` holds anything but rules, or `otherwise` is no pattern.

    Examples
    --------
    >>> import prunepack as pp
    >>> rules = pp.Rules([pp.Rule("skip", name="*.0.*")], otherwise=pp.NM(2, 4))
    """

    rules: Sequence[Rule] = ()
    otherwise: Pattern | None = None

    def __post_init__(self) -> None:
        given: Any = self.rules
        if isinstance(given, str | Rule) or not isinstance(given, Iterable):
            msg = f"rules must be an iterable of Rule, got {type(given).__name__}"
            raise TypeError(msg)
        object.__setattr__(self, "rules", tuple(given))
        for rule in self.rules:
            if not isinstance(rule, Rule):
                msg = f"rules must hold Rule objects only, got {type(rule).__name__}"
                raise TypeError(msg)
        if self.otherwise is not None:
            check_pattern(self.otherwise)

    def __str__(self) -> str:
        otherwise = "" if self.otherwise is None else str(self.otherwise)
        if not self.rules:
            return otherwise
        count = f"{len(self.rules)} rule" + ("" if len(self.rules) == 1 else "s")
        return f"{count}, otherwise {otherwise}" if otherwise else count


def as_rules(rules: Pattern | Rules | Iterable[Rule]) -> Rules:
    """Return what a caller gave for rules as `Rules`."""
    if isinstance(rules, Rules):
        return rules
    if isinstance(rules, get_args(Pattern)):
        return Rules(otherwise=rules)
    if isinstance(rules, str) or not isinstance(rules, Iterable):
        msg = (
            "rules must be a pattern (Unstructured, Threshold, NM or Block), a Rules or an iterable"
            f" of Rule, got {type(rules).__name__}"
        )
        raise TypeError(msg)
    return Rules(tuple(rules))


def _check_then(then: object) -> None:
    if isinstance(then, str):
        if then not in get_args(LeftAlone):
            msg = f"then must be a pattern, 'skip' or 'keep dense', got {shown(then)}"
            raise ValueError(msg)
    else:
        check_pattern(then, "then")


def _strings(argument: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    strings = (value,) if isinstance(value, str) else value
    if not isinstance(strings, list | tuple) or not all(isinstance(s, str) for s in strings):
        msg = f"{argument} must be a string or a list of strings, got {shown(value)}"
        raise TypeError(msg)
    return tuple(strings)


def _compiled(regex: Any) -> re.Pattern[str]:
    if not isinstance(regex, str):
        msg = f"regex must be a string, got {type(regex).__name__}"
        raise TypeError(msg)
    if len(regex) > _MOST_REGEX:
        msg = f"regex must have at most {_MOST_REGEX} characters, got {len(regex)}"
        raise ValueError(msg)
    try:
        return re.compile(regex)  # which keeps those it has compiled
    except (re.error, OverflowError) as error:
        msg = f"regex must be a regular expression, got {shown(regex)}: {reason(error)}"
    except RecursionError:
        msg = f"regex must nest a few levels, {shown(regex)} nests too deeply"
    raise ValueError(msg)


def _extents(shape: Any) -> tuple[int | None, ...]:
    if not isinstance(shape, list | tuple):
        msg = f"shape must be a list of numbers, got {type(shape).__name__}"
        raise TypeError(msg)
    return tuple(None if extent is None else integer("shape", extent) for extent in shape)


def _fits(shape: tuple[int, ...], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(
        extent is None or extent == given for extent, given in zip(wanted, shape, strict=True)
    )


def _between(number: int, least: int | None, most: int | None) -> bool:
    return (least is None or number >= least) and (most is None or number <= most)
