"""Decide what becomes of every tensor of a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._selection import Decision, check_included
from ._ties import tie

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._source import Checkpoint
    from .._tensor_info import TensorInfo
    from ._rules import Rules
    from ._selection import Selection


def decide(
    source: Checkpoint, infos: Mapping[str, TensorInfo], selection: Selection, rules: Rules
) -> tuple[dict[str, Decision], tuple[str, ...]]:
    """Decide for each tensor by selection and rules, and alike for tensors of the same bytes.

    Returns
    -------
    decisions : dict of str to Decision
        One for each tensor.
    notes : tuple of str
        What the caller may want to know.

    Raises
    ------
    ValueError
        If an include matches nothing that is worked on.
    """
    notes = selection.check(infos) + _unmatched(infos, rules)
    decisions = {name: selection.decide(name, info, rules) for name, info in infos.items()}
    check_included(selection, {n: None if d.pattern else d.why for n, d in decisions.items()})
    decisions, tied = tie(source, infos, decisions)
    return decisions, notes + tied


def _unmatched(infos: Mapping[str, TensorInfo], rules: Rules) -> tuple[str, ...]:
    return tuple(
        f"rule {number} ({rule}) matches no tensor"
        for number, rule in enumerate(rules.rules, 1)
        if not any(rule.matches(name, info) for name, info in infos.items())
    )
