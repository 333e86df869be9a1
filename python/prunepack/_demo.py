"""A model-shaped checkpoint, pruned several ways and checked against plain NumPy.

The expected weights are worked out here with sorts and reshapes, on purpose without any
of prunepack's own code: the demo shows that the two agree to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from ._checkpoint import Progress, prune_checkpoint, unpack_checkpoint
from ._files import load_file, save_file
from ._patterns import NM, Block, Unstructured

if TYPE_CHECKING:
    from pathlib import Path

    from ._arrays import Array
    from ._checkpoint import CheckpointReport
    from ._patterns import Pattern


WIDTH, HIDDEN, VOCABULARY = 256, 704, 4096

LAYER_DTYPES = (ml_dtypes.bfloat16, ml_dtypes.bfloat16, np.float16, np.float32)


@dataclass(frozen=True)
class Way:
    """One way to prune, with NumPy's answer to it, and the name of its files."""

    name: str
    stem: str
    pattern: Pattern
    expected: Callable[[Array], Array]


@dataclass(frozen=True)
class DemoRow:
    """What one way of pruning did.

    Attributes
    ----------
    name, pattern : str
        The way, in short and in full.
    report : CheckpointReport
        What pruning and packing did to the file.
    unpack_seconds : float
        The time to write the packed file dense again.
    error : float
        The norm of what was pruned over the norm of the weights.
    wrong : tuple of str
        The tensors that differ from NumPy's answer in any bit.
    """

    name: str
    pattern: str
    report: CheckpointReport
    unpack_seconds: float
    error: float
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class DemoReport:
    """What the demo did, one row for each way of pruning."""

    path: str
    tensors: int
    weights: int
    nbytes: int
    rows: tuple[DemoRow, ...]

    @property
    def ok(self) -> bool:
        """Whether every tensor of every file is what NumPy says."""
        return not any(row.wrong for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return the report as what `json.dumps` takes."""
        rows = [asdict(row) | {"report": row.report.to_json()} for row in self.rows]
        return asdict(self) | {"rows": rows, "ok": self.ok}


def run_demo(
    folder: Path,
    *,
    num_threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> DemoReport:
    """Make the model in `folder`, prune it each way, and check each result.

    Parameters
    ----------
    folder : Path
        Where the files go. It must be there.
    num_threads : int, optional
        Threads to use; by default all cores this process may use.
    progress : callable, optional
        Called with the name of the way at hand, the bytes done and all bytes to do.

    Returns
    -------
    DemoReport
        Sizes, times and errors; `DemoReport.ok` tells whether every bit is right.
    """
    path = folder / "model.safetensors"
    model = make_model()
    save_file(model, path)
    nbytes = path.stat().st_size
    rows = []
    for index, way in enumerate(WAYS):
        if progress is not None:
            done = Progress(way.name, index, len(WAYS), index * nbytes, len(WAYS) * nbytes)
            progress(done)
        rows.append(_run(way, model, path, num_threads))
    weights = sum(tensor.size for tensor in model.values())
    return DemoReport(str(path), len(model), weights, nbytes, tuple(rows))


def make_model() -> dict[str, Array]:
    """Return the tensors of a small transformer: several dtypes, biases, norms, integers."""
    random = np.random.default_rng(7)

    def weight(rows: int, cols: int, dtype: Any) -> Array:
        channels = random.lognormal(sigma=0.4, size=(rows, 1))
        return (0.02 * channels * random.standard_normal((rows, cols))).astype(dtype)

    def vector(dtype: Any) -> Array:
        return (1 + 0.1 * random.standard_normal(WIDTH)).astype(dtype)

    model: dict[str, Array] = {
        "model.embed_tokens.weight": weight(VOCABULARY, WIDTH, ml_dtypes.bfloat16)
    }
    for index, dtype in enumerate(LAYER_DTYPES):
        layer = f"model.layers.{index}"
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            model[f"{layer}.self_attn.{name}.weight"] = weight(WIDTH, WIDTH, dtype)
            model[f"{layer}.self_attn.{name}.bias"] = vector(dtype)
        model[f"{layer}.mlp.gate_proj.weight"] = weight(HIDDEN, WIDTH, dtype)
        model[f"{layer}.mlp.up_proj.weight"] = weight(HIDDEN, WIDTH, dtype)
        model[f"{layer}.mlp.down_proj.weight"] = weight(WIDTH, HIDDEN, dtype)
        model[f"{layer}.input_layernorm.weight"] = vector(np.float32)
    model["model.norm.weight"] = vector(np.float32)
    model["model.position_ids"] = np.arange(512, dtype=np.int64)[None]
    model["lm_head.weight"] = weight(VOCABULARY, WIDTH, np.float32)
    return model


def _run(way: Way, model: dict[str, Array], path: Path, num_threads: int | None) -> DemoRow:
    packed = path.with_name(f"{way.stem}.packed.safetensors")
    dense = path.with_name(f"{way.stem}.dense.safetensors")
    # All of its matrices, though one would rather not prune an embedding.
    report = prune_checkpoint(path, packed, way.pattern, defaults=False, num_threads=num_threads)
    unpacked = unpack_checkpoint(packed, dense, num_threads=num_threads)
    found = load_file(dense)
    wrong = []
    lost = whole = 0.0
    for tensor in report.tensors:
        before, after = model[tensor.name], np.asarray(found[tensor.name])
        expected = way.expected(before) if tensor.action == "pruned" else before
        if after.dtype != expected.dtype or after.tobytes() != expected.tobytes():
            wrong.append(tensor.name)
        if tensor.action == "pruned":
            lost += _square_sum(before.astype(np.float64) - after.astype(np.float64))
            whole += _square_sum(before.astype(np.float64))
    error = float(np.sqrt(lost / whole))
    return DemoRow(way.name, str(way.pattern), report, unpacked.seconds, error, tuple(wrong))


def _square_sum(values: Array) -> float:
    return float(np.square(values).sum())


def _expect_unstructured(sparsity: float) -> Callable[[Array], Array]:
    def expected(weights: Array) -> Array:
        pruned = weights.reshape(-1).copy()
        order = np.argsort(np.abs(pruned.astype(np.float32)), kind="stable")
        pruned[order[: round(sparsity * pruned.size)]] = 0
        return pruned.reshape(weights.shape)

    return expected


def _expect_in_groups(zeros: int, group: int) -> Callable[[Array], Array]:
    """Zero the smallest of each `group` weights along a row."""

    def expected(weights: Array) -> Array:
        groups = weights.reshape(-1, group).copy()
        order = np.argsort(np.abs(groups.astype(np.float32)), axis=1, kind="stable")
        np.put_along_axis(groups, order[:, :zeros], 0, axis=1)
        return groups.reshape(weights.shape)

    return expected


def _expect_in_rows(sparsity: float) -> Callable[[Array], Array]:
    def expected(weights: Array) -> Array:
        cols = weights.shape[1]
        return _expect_in_groups(round(sparsity * cols), cols)(weights)

    return expected


def _expect_tiles_of_4_rows(sparsity: float) -> Callable[[Array], Array]:
    def expected(weights: Array) -> Array:
        tiles = weights.reshape(-1, 4, weights.shape[1]).copy()
        squares = np.square(tiles.astype(np.float64))
        norms = (squares[:, 0] + squares[:, 2]) + (squares[:, 1] + squares[:, 3])
        order = np.argsort(norms, axis=None, kind="stable")
        tile_row, col = np.unravel_index(order[: round(sparsity * norms.size)], norms.shape)
        tiles[tile_row, :, col] = 0
        return tiles.reshape(weights.shape)

    return expected


WAYS = (
    Way("50 %", "50", Unstructured(0.5), _expect_unstructured(0.5)),
    Way("75 %", "75", Unstructured(0.75), _expect_unstructured(0.75)),
    Way("75 % of each row", "75-row", Unstructured(0.75, scope="row"), _expect_in_rows(0.75)),
    Way("3:4", "3of4", NM(3, 4), _expect_in_groups(3, 4)),
    Way("block 4x1, 50 %", "block-4x1", Block((4, 1), 0.5), _expect_tiles_of_4_rows(0.5)),
)
