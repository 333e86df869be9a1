"""Which tensors of a model are worked on, and what is done to each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._dtypes import is_prunable
from .._globs import any_match, checked_globs, named_out
from ._defaults import kind_of_name, too_small
from ._rules import Rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._patterns import Pattern
    from .._tensor_info import TensorInfo
    from ._rules import LeftAlone


@dataclass(frozen=True)
class Decision:
    """What becomes of one tensor, and what decided it.

    Attributes
    ----------
    then : Pattern, "skip" or "keep dense"
        As in `Rule`.
    why : str
        For people: ``"rank 1"``, ``"rule 2 (*.mlp.*)"``; empty for the pattern of all weights.
    rule : int or None
        The number of the rule that decided, counted from 1.
    """

    then: Pattern | LeftAlone
    why: str = ""
    rule: int | None = None

    @property
    def pattern(self) -> Pattern | None:
        """The pattern to prune with, if it is to be pruned."""
        return None if isinstance(self.then, str) else self.then


@dataclass(frozen=True)
class Selection:
    """The tensors to work on, by name, size and rank.

    Attributes
    ----------
    include, exclude : tuple of str
        Globs over names. With any `include`, a tensor must match one; it must match no `exclude`.
    min_size, min_rank : int
        The fewest elements and dimensions of a tensor that counts as a weight.
    defaults : bool
        Whether embeddings, output heads, norms and biases are told by their names and left alone.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_size: int = 2048
    min_rank: int = 2
    defaults: bool = True

    @classmethod
    def of(
        cls,
        include: Iterable[str],
        exclude: Iterable[str],
        min_size: int,
        min_rank: int,
        defaults: bool,
    ) -> Selection:
        """Check what a caller gave."""
        included, excluded = checked_globs(include, "include"), checked_globs(exclude, "exclude")
        return cls(included, excluded, min_size, min_rank, defaults)

    def decide(self, name: str, info: TensorInfo, rules: Rules) -> Decision:
        """Decide by the first of these that has a say.

        The globs to include and exclude; whether there is anything that can be pruned; the rules; the
        built-in defaults; the pattern for what is left.
        """
        why = self._named_out(name) or _impossible(info)
        if why is not None:
            return Decision("skip", why)
        for number, rule in enumerate(rules.rules, 1):
            if rule.matches(name, info):
                return Decision(rule.then, f"rule {number} ({rule})", number)
        why = self._default_out(name, info)
        if why is not None:
            return Decision("skip", why)
        if rules.otherwise is None:
            return Decision("skip", "no rule matches")
        return Decision(rules.otherwise)

    def why_not(self, name: str, info: TensorInfo) -> str | None:
        """Say why a tensor is to be left alone where there are no rules, or None if it is not."""
        return self._named_out(name) or _impossible(info) or self._default_out(name, info)

    def check(self, infos: Mapping[str, TensorInfo]) -> tuple[str, ...]:
        """Say which excludes match no name.

        Raises
        ------
        ValueError
            If an include matches no name: what it was meant to prune would stay as it was.
        """
        for glob in self.include:
            if not any(any_match(name, (glob,)) for name in infos):
                example = f"; the names look like {next(iter(infos))!r}" if infos else ""
                msg = f"include {glob!r} matches none of the {len(infos)} tensors{example}"
                raise ValueError(msg)
        return tuple(
            f"exclude {glob!r} matches no tensor"
            for glob in self.exclude
            if not any(any_match(name, (glob,)) for name in infos)
        )

    def _named_out(self, name: str) -> str | None:
        return named_out([name], self.include, self.exclude)

    def _default_out(self, name: str, info: TensorInfo) -> str | None:
        small = too_small(info, self.min_rank, self.min_size)
        return small or (kind_of_name(name) if self.defaults else None)


def check_included(selection: Selection, why_not: Mapping[str, str | None]) -> None:
    """Raise a ValueError if an include matches tensors, but none that is worked on.

    Parameters
    ----------
    selection : Selection
        What was included.
    why_not : mapping of str to str or None
        For every tensor why it is left alone; None if it is not.
    """
    for glob in selection.include:
        reasons = [why for name, why in why_not.items() if any_match(name, (glob,))]
        if reasons and None not in reasons:
            common, _ = Counter(reasons).most_common(1)[0]
            msg = f"include {glob!r} matches only tensors that are left alone: {common}"
            raise ValueError(msg)


def _impossible(info: TensorInfo) -> str | None:
    if info.numpy is None or not is_prunable(info.numpy):
        return f"dtype {info.dtype}"
    # A file of a hundred bytes may hold 2**40 rows of nothing; packed, each would have an offset.
    return "no elements" if 0 in info.shape else None
