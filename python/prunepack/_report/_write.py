"""Look at a checkpoint and write the page."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._atomic import replacing
from .._checkpoint import portray
from .._errors import FormatError
from .._regular import read_text
from .._strict_json import shown

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from .._checkpoint import Portrait, Progress

RUN_LIMIT = 1 << 28


def report_checkpoint(
    src: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    before: str | os.PathLike[str] | None = None,
    run: str | os.PathLike[str] | None = None,
    num_threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Portrait:
    """Write a page that shows what is in a checkpoint.

    One HTML file that needs nothing else and no network: sizes before and after, the sparsity of every
    layer, the magnitudes of the largest tensors with the cut drawn in, and the largest and slowest
    tensors. Needs matplotlib.

    Parameters
    ----------
    src : path-like
        A .safetensors or .npz file, or the folder of a model.
    path : path-like
        The file to write, which must end in .html.
    before : path-like, optional
        The checkpoint that `src` was made from. With it the page shows which weights were pruned,
        without it only those that are left.
    run : path-like, optional
        What ``prunepack prune --json`` printed, for how long each tensor took.
    num_threads : int, optional
        Threads to use; by default all cores this process may use.
    progress : callable, optional
        Called with a `Progress` before the first and after each tensor.

    Returns
    -------
    Portrait
        What the page shows.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    FormatError
        If a file does not hold what its format requires.
    ValueError
        If `path` does not end in .html, or a tensor is not in `before` in the same shape.
    OSError
        If a file cannot be read or written.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.random.default_rng(0).standard_normal((64, 64))
    >>> pp.save_file({"fc.weight": pp.prune(w, pp.NM(3, 4))}, "model.safetensors")
    >>> found = pp.report_checkpoint("model.safetensors", "model.html")
    >>> found.tensors[0].sparsity
    0.75
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        msg = f"path must end in .html, got {str(target)!r}"
        raise ValueError(msg)
    if find_spec("matplotlib") is None:
        msg = "a report needs matplotlib; install it with: pip install matplotlib"
        raise ModuleNotFoundError(msg, name="matplotlib")
    seconds = {} if run is None else _seconds(Path(run))
    found = portray(src, before, num_threads, progress)
    from ._page import page  # only now is matplotlib needed, which takes a while

    text = page(found, seconds)
    with replacing(target) as file:
        file.write(text.encode())
    return found


def _seconds(path: Path) -> dict[str, float]:
    """Read how long each tensor took from what a command has printed."""
    where = f"{path}: must be what prune --json prints"
    try:
        tree: Any = json.loads(read_text(path, RUN_LIMIT))
    except (ValueError, RecursionError) as error:
        msg = f"{where}: {error}"
        raise FormatError(msg) from None
    tensors = tree.get("tensors") if isinstance(tree, dict) else None
    if not isinstance(tensors, list) or not all(isinstance(t, dict) for t in tensors):
        msg = f"{where}: 'tensors' must be a list of objects, got {shown(tensors)}"
        raise FormatError(msg)
    return {
        tensor["name"]: float(tensor["seconds"])
        for tensor in tensors
        if isinstance(tensor.get("name"), str) and isinstance(tensor.get("seconds"), int | float)
    }
