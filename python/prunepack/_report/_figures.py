"""The figures of a report, as SVG that takes its colours from the page."""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes

    from .._checkpoint import Magnitudes

# Colours that stand for what they mean: in the SVG they become the page's own, light or dark.
INK, FAINT, KEPT, PRUNED, CUT = "#010101", "#020202", "#030303", "#040404", "#050505"
_MEANINGS = {INK: "ink", FAINT: "faint", KEPT: "kept", PRUNED: "pruned", CUT: "cut"}

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, in the page's font
    "text.parse_math": False,  # names may hold a $
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}

MOST_CELLS_IN_WORDS = 16
LEAST_SHARE_SHOWN = 1e-3


def sparsity_grid(
    rows: Sequence[str], columns: Sequence[str], share: npt.NDArray[np.float64]
) -> str:
    """Draw the sparsity of each kind of tensor (row) in each layer (column); NaN is none."""
    height = 0.45 + 0.27 * len(rows)
    figure, axes = _axes(9.2, height)
    for row, column in np.argwhere(~np.isnan(share)):
        value = float(share[row, column])
        axes.add_patch(
            mpl.patches.Rectangle(
                (column - 0.47, row - 0.45), 0.94, 0.9, facecolor=KEPT, alpha=0.08 + 0.72 * value
            )
        )
        if len(columns) <= MOST_CELLS_IN_WORDS:
            axes.text(
                column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=8, color=INK
            )
    axes.set_xlim(-0.5, max(len(columns), 2) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    step = -(-len(columns) // 24)
    axes.set_xticks(range(0, len(columns), step), columns[::step])
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return _svg(figure, "sparsity of each layer in percent")


def bars(names: Sequence[str], before: Sequence[int], after: Sequence[int], unit: str) -> str:
    """Draw the sizes of groups of tensors, what is left of each in front."""
    scale = {"kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
    figure, axes = _axes(9.2, 0.55 + 0.3 * len(names))
    places = np.arange(len(names))
    axes.barh(places, np.asarray(before) / scale, height=0.72, color=PRUNED)
    axes.barh(places, np.asarray(after) / scale, height=0.72, color=KEPT)
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1.02 * max(*before, *after, 1) / scale)
    axes.set_xlabel(unit)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return _svg(figure, f"size before and after in {unit}")


def histogram(magnitudes: Magnitudes) -> str:
    """Draw how many weights have which magnitudes, kept and pruned, and the cut."""
    figure, axes = _axes(3.3, 1.45)
    widths = np.log2(magnitudes.edges[1:]) - np.log2(np.maximum(magnitudes.edges[:-1], 5e-324))
    kept, total = magnitudes.kept / widths, (magnitudes.kept + magnitudes.pruned) / widths
    seen = np.flatnonzero(total >= LEAST_SHARE_SHOWN * total.max())
    part = slice(int(seen[0]), int(seen[-1]) + 1)
    edges = magnitudes.edges[part.start : part.stop + 1]
    axes.stairs(total[part], edges, fill=True, color=PRUNED)
    axes.stairs(kept[part], edges, fill=True, color=KEPT)
    if magnitudes.cut is not None and edges[0] <= magnitudes.cut <= edges[-1]:
        axes.axvline(magnitudes.cut, color=CUT, linewidth=1.4, dashes=(3, 2))
    axes.set_xscale("log")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1.05 * total.max())
    decades = np.log10(edges[-1] / edges[0])
    axes.xaxis.set_major_locator(
        LogLocator(numticks=5) if decades > 1 else LogLocator(subs=(1, 2, 5))
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    return _svg(figure, "magnitudes")


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.add_subplot()


def _svg(figure: Figure, label: str) -> str:
    """Return a figure as an element for a page."""
    out = io.StringIO()
    with mpl.rc_context(_SETTINGS | {"svg.hashsalt": label}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of characters that its own font lacks and the page's has
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*pt"', r"\1", text)
    text = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*pt"', r"\1", text)
    for colour, meaning in _MEANINGS.items():
        text = text.replace(colour, f"var(--{meaning})")
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)  # that of the page
    text = re.sub(r" <defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[a-z0-9.]*_\d+"', "", text)  # the same in every figure
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
