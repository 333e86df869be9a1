"""The page of a report: one HTML text with everything in it."""

from __future__ import annotations

from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from .. import _text
from . import _figures
from ._layers import by_layer, by_size, sparse
from ._style import STYLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .._checkpoint import Portrait, TensorPortrait

HISTOGRAMS = 12
ROWS = 15
PATTERNS = 3


def page(found: Portrait, seconds: Mapping[str, float]) -> str:
    """Return the page; `seconds` says how long tensors took, as far as that is known."""
    title = escape(_text.printable(Path(found.path).name))
    body = "\n".join(
        part for part in (_head(found), _layers(found), _sizes(found), _magnitudes(found)) if part
    )
    tables = _largest(found.tensors) + _slowest(found.tensors, seconds)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · prunepack</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}
{tables}
<footer>prunepack {escape(version("prunepack"))}. In N:M, N counts the zeros: 3:4 is 75 % sparse.</footer>
</main>
</body>
</html>
"""


def _head(found: Portrait) -> str:
    pruned = sparse(found.tensors)
    weights, zeros = sum(t.weights for t in pruned), sum(t.zeros or 0 for t in pruned)
    everything = sum(t.weights for t in found.tensors)
    kinds = dict.fromkeys(t.pattern for t in pruned if t.pattern)
    original = (
        f"made from <code>{escape(_text.printable(found.before))}</code>"
        if found.before is not None
        else "beside the same tensors stored dense"
    )
    was = _text.in_bytes(found.bytes_before)
    ratio = found.bytes_before / max(found.bytes_after, 1)
    cards = (
        ("size", _text.in_bytes(found.bytes_after), f"from {was}, {_text.times(ratio)} smaller"),
        (
            "zeros",
            _text.in_percent(zeros / weights if weights else 0.0),
            f"of {_text.in_weights(weights)} weights in {_text.count_of(len(pruned), 'tensor')}",
        ),
        (
            "model",
            _text.in_weights(everything),
            f"weights in {_text.count_of(len(found.tensors), 'tensor')}",
        ),
        ("pattern", _listed(list(kinds)) or "dense", "as the zeros show"),
    )
    shown = "".join(
        f"<div class=card><h3>{name}</h3><b>{escape(big)}</b><p>{escape(small)}</p></div>"
        for name, big, small in cards
    )
    name = escape(_text.printable(Path(found.path).name))
    return f"""<header><h1>{name}</h1><p>{original}</p></header>
<section class=cards>{shown}</section>"""


def _listed(words: Sequence[str]) -> str:
    more = len(words) - PATTERNS
    return ", ".join(words[:PATTERNS]) + (f" and {more} more" if more > 0 else "")


def _layers(found: Portrait) -> str:
    tensors = sparse(found.tensors)
    if not tensors:
        return ""
    ordered = sorted(tensors, key=lambda t: _text.numbers_in_order(t.name))
    figure = _figures.sparsity_grid(*by_layer(ordered))
    return _section(
        "Sparsity of each layer",
        "Percent of zeros, by kind of tensor and layer.",
        f"<div class=wide>{figure}</div>",
    )


def _sizes(found: Portrait) -> str:
    if not found.tensors:
        return ""
    sizes = by_size(found.tensors)
    largest = max(*sizes.before, *sizes.after, 1)
    unit = "GB" if largest >= 2e9 else "MB" if largest >= 2e6 else "kB"
    return _section(
        "Size",
        "<i class=pruned></i> before <i class=kept></i> after, the tensors of all layers together.",
        f"<div class=wide>{_figures.bars(*sizes, unit)}</div>",
    )


def _magnitudes(found: Portrait) -> str:
    tensors = [t for t in sparse(found.tensors) if t.magnitudes is not None][:HISTOGRAMS]
    if not tensors:
        return ""
    figures = "".join(
        f"<figure><figcaption>{_name(t.name)}<span>{_text.in_percent(t.sparsity)} zeros ·"
        f" {escape(t.pattern or '')}</span></figcaption>"
        f"{_figures.histogram(t.magnitudes)}</figure>"
        for t in tensors
        if t.magnitudes is not None
    )
    if found.before is None:
        told = (
            "<i class=kept></i> The weights that are left, by magnitude. <i class=cut></i> The"
            " smallest of them."
        )
    else:
        told = (
            "Weights by magnitude, <i class=kept></i> kept and <i class=pruned></i> pruned."
            " <i class=cut></i> Where the cut would be if only the smallest went."
        )
    many = len(sparse(found.tensors)) > len(tensors)
    more = f" The {len(tensors)} largest tensors that have zeros." if many else ""
    return _section("Magnitudes", told + more, f"<div class=figures>{figures}</div>")


def _largest(tensors: Sequence[TensorPortrait]) -> str:
    rows = (
        (
            _name(t.name),
            _text.of_shape(t.shape),
            t.dtype,
            _text.in_percent(t.sparsity),
            escape(t.pattern or "-"),
            _text.in_bytes(t.bytes_before),
            _bar(1, min(t.bytes_after / max(t.bytes_before, 1), 1)),
            _text.in_bytes(t.bytes_after),
        )
        for t in sorted(tensors, key=lambda t: -t.bytes_before)[:ROWS]
    )
    headings = ("tensor", "shape", "dtype", "zeros", "pattern", "before", "", "after")
    return _section("Largest tensors", "", _table(headings, rows))


def _slowest(tensors: Sequence[TensorPortrait], seconds: Mapping[str, float]) -> str:
    known = [t for t in tensors if t.name in seconds]
    if not known:
        return ""
    most = max(seconds[t.name] for t in known) or 1.0
    rows = (
        (
            _name(t.name),
            _text.of_shape(t.shape),
            escape(t.pattern or "-"),
            _bar(0, seconds[t.name] / most),
            _text.in_seconds(seconds[t.name]),
            f"{_text.in_bytes(int(t.bytes_before / max(seconds[t.name], 1e-9)))}/s",
        )
        for t in sorted(known, key=lambda t: -seconds[t.name])[:ROWS]
    )
    headings = ("tensor", "shape", "pattern", "", "time", "rate")
    told = "Time to make each, without reading and writing; tensors are made side by side."
    return _section("Slowest tensors", told, _table(headings, rows))


def _section(title: str, told: str, content: str) -> str:
    note = f"<p class=note>{told}</p>" if told else ""
    return f"<section><h2>{title}</h2>{note}{content}</section>"


def _table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _bar(outer: float, inner: float) -> str:
    return (
        f'<span class=bar><span class=pruned style="width:{100 * outer:.1f}%"></span>'
        f'<span class=kept style="width:{100 * inner:.1f}%"></span></span>'
    )


def _name(name: str) -> str:
    """Escape a name, and let it break after its dots."""
    return escape(_text.printable(name)).replace(".", ".<wbr>")
