"""The same work done by prunepack and by what people use instead, as each would do it."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

import prunepack as pp

Array: TypeAlias = npt.NDArray[Any]

BLOCK = 4  # output channels of a tile
GROUP = 64  # weights of a top-k group
NAMES = ("NumPy", "SciPy", "torch", "compressed-tensors", "coremltools")
_MODULES = {
    "NumPy": "numpy",
    "SciPy": "scipy.sparse",
    "torch": "torch",
    "compressed-tensors": "compressed_tensors.compressors.sparse_compressors.sparse_bitmask",
    "coremltools": "coremltools.optimize.coreml._quantization_passes",
}


@dataclass(frozen=True)
class Recipe:
    """What is timed, and what of its result is compared, which is not."""

    run: Callable[[], Any]
    view: Callable[[Any], Array] = np.asarray


@dataclass
class Task:
    """One piece of work: prunepack's way, others', and when their results agree."""

    name: str
    ours: Recipe
    agree: Callable[[Array, Array], bool]
    peers: dict[str, Recipe] = field(default_factory=dict)


def find_peer(name: str) -> Any:
    """Import what is compared of a peer; ImportError if it is not there."""
    return importlib.import_module(_MODULES[name])


def all_tasks(w: Array, threads: int, peers: Mapping[str, Any]) -> list[Task]:
    """Return the tasks on the weights `w`, a matrix, with the recipes of `peers`."""
    pruned = pp.prune(w, pp.Unstructured(0.5))
    tasks = _our_tasks(w, pruned, threads)
    for name, module in peers.items():
        for task, recipe in _RECIPES[name](module, w, pruned, threads).items():
            tasks[task].peers[name] = recipe
    return list(tasks.values())


def _our_tasks(w: Array, pruned: Array, threads: int) -> dict[str, Task]:
    packed = pp.pack(pruned)

    def mask(pattern: pp.Pattern) -> Recipe:
        return Recipe(lambda: pp.prune_mask(w, pattern, num_threads=threads), pp.Mask.to_bool)

    def prune_and_pack(pattern: pp.Pattern) -> Recipe:
        def run() -> pp.PackedTensor:
            keep = pp.prune_mask(w, pattern, num_threads=threads)
            return pp.pack(w, keep, num_threads=threads)

        return Recipe(run, lambda p: p.values)

    half, block = pp.Unstructured(0.5), pp.Block((BLOCK,), 0.5)
    rows = pp.Unstructured(0.5, scope="row")
    sums = _same_groups(w)
    tasks = [
        Task("2:4 mask", mask(pp.NM(2, 4)), sums(4)),
        Task(f"top {GROUP // 2} of {GROUP}", mask(pp.NM(GROUP // 2, GROUP)), sums(GROUP)),
        Task("50 % mask, whole tensor", mask(half), _nearly_same),
        Task("50 % mask, each row", mask(rows), _nearly_same),
        Task("4x1 block mask, 50 %", mask(block), _nearly_same),
        Task(
            "pack, 50 %", Recipe(lambda: pp.pack(pruned, num_threads=threads), _values), _identical
        ),
        Task("unpack, 50 %", Recipe(lambda: packed.to_dense(num_threads=threads)), _identical),
        Task("2:4 prune and pack", prune_and_pack(pp.NM(2, 4)), _nearly_as_many),
        Task("50 % prune and pack", prune_and_pack(half), _nearly_as_many),
        Task("4x1 block prune and pack", prune_and_pack(block), _nearly_as_many),
    ]
    return {task.name: task for task in tasks}


# Agreement. Peers have other tie rules, and norms rounded to the weights' dtype.


def _identical(ours: Array, theirs: Array) -> bool:
    return np.array_equal(ours, theirs)


def _nearly_same(ours: Array, theirs: Array) -> bool:
    return int(np.count_nonzero(ours != theirs)) <= max(2, ours.size // 1000)


def _nearly_as_many(ours: Array, theirs: Array) -> bool:
    return abs(ours.size - theirs.size) <= max(2, ours.size // 1000)


def _same_groups(w: Array) -> Callable[[int], Callable[[Array, Array], bool]]:
    """As many kept in each group, with the same magnitudes: only ties may differ."""

    def of(m: int) -> Callable[[Array, Array], bool]:
        def kept(mask: Array) -> Array:
            groups = np.where(mask, np.abs(w), 0).reshape(-1, m)
            sums: Array = groups.sum(axis=1, dtype=np.float64)
            return sums

        def agree(ours: Array, theirs: Array) -> bool:
            counts = [mask.reshape(-1, m).sum(axis=1) for mask in (ours, theirs)]
            same_counts = np.array_equal(*counts)
            return same_counts and bool(np.allclose(kept(ours), kept(theirs), rtol=1e-9))

        return agree

    return of


def _values(packed: pp.PackedTensor) -> Array:
    return packed.values


# Recipes.

Recipes: TypeAlias = dict[str, Recipe]


def _numpy(module: Any, w: Array, pruned: Array, threads: int) -> Recipes:  # noqa: ARG001
    kept = pruned != 0
    bits = np.packbits(kept, axis=1, bitorder="little")
    values = pruned[kept]

    def smallest_pruned(m: int) -> Array:
        groups = np.abs(w).reshape(-1, m)
        pruned_places = np.argpartition(groups, m // 2 - 1, axis=1)[:, : m // 2]
        keep = np.ones(groups.shape, dtype=np.bool_)
        np.put_along_axis(keep, pruned_places, False, axis=1)
        return keep.reshape(w.shape)

    def half() -> Array:
        keys = np.abs(w).reshape(-1)
        k = keys.size // 2 - 1
        keep: Array = keys > np.partition(keys, k)[k]
        return keep.reshape(w.shape)

    def half_of_rows() -> Array:
        keys = np.abs(w)
        k = keys.shape[1] // 2 - 1
        keep: Array = keys > np.partition(keys, k, axis=1)[:, k : k + 1]
        return keep

    def blocks() -> Array:
        norms = np.square(w).reshape(-1, BLOCK, w.shape[1]).sum(axis=1)
        k = norms.size // 2 - 1
        keep = norms > np.partition(norms, k, axis=None)[k]
        return np.repeat(keep, BLOCK, axis=0)

    def pack() -> tuple[Array, Array]:
        keep = pruned != 0
        return np.packbits(keep, axis=1, bitorder="little"), pruned[keep]

    def unpack() -> Array:
        dense = np.zeros(w.shape, dtype=w.dtype)
        keep = np.unpackbits(bits, axis=1, count=w.shape[1], bitorder="little").view(np.bool_)
        dense[keep] = values
        return dense

    return {
        "2:4 mask": Recipe(lambda: smallest_pruned(4)),
        f"top {GROUP // 2} of {GROUP}": Recipe(lambda: smallest_pruned(GROUP)),
        "50 % mask, whole tensor": Recipe(half),
        "50 % mask, each row": Recipe(half_of_rows),
        "4x1 block mask, 50 %": Recipe(blocks),
        "pack, 50 %": Recipe(pack, lambda packed: packed[1]),
        "unpack, 50 %": Recipe(unpack),
    }


def _torch(torch: Any, w: Array, pruned: Array, threads: int) -> Recipes:
    torch.set_num_threads(threads)
    tensor, sparse = torch.from_numpy(w), torch.from_numpy(pruned)

    def largest_kept(m: int) -> Any:
        groups = tensor.abs().view(-1, m)
        places = groups.topk(m // 2, dim=1, sorted=False).indices
        keep = torch.zeros(groups.shape, dtype=torch.bool)
        return keep.scatter_(1, places, True).view(tensor.shape)

    def half() -> Any:
        keys = tensor.abs().view(-1)
        return (keys > keys.kthvalue(keys.numel() // 2).values).view(tensor.shape)

    def blocks() -> Any:
        norms = tensor.square().view(-1, BLOCK, tensor.shape[1]).sum(dim=1)
        keep = norms > norms.view(-1).kthvalue(norms.numel() // 2).values
        return keep.repeat_interleave(BLOCK, dim=0)

    recipes = {
        "2:4 mask": Recipe(lambda: largest_kept(4)),
        f"top {GROUP // 2} of {GROUP}": Recipe(lambda: largest_kept(GROUP)),
        "50 % mask, whole tensor": Recipe(half),
        "50 % mask, each row": Recipe(lambda: largest_kept(tensor.shape[1])),
        "4x1 block mask, 50 %": Recipe(blocks),
    }
    if w.dtype == np.float32:
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        csr = sparse.to_sparse_csr()
        recipes["pack, 50 %"] = Recipe(sparse.to_sparse_csr, lambda packed: packed.values().numpy())
        recipes["unpack, 50 %"] = Recipe(csr.to_dense)
    return recipes


def _scipy(sparse: Any, w: Array, pruned: Array, threads: int) -> Recipes:  # noqa: ARG001
    if w.dtype != np.float32:  # has no half precision
        return {}
    csr = sparse.csr_array(pruned)
    return {
        "pack, 50 %": Recipe(lambda: sparse.csr_array(pruned), lambda packed: packed.data),
        "unpack, 50 %": Recipe(csr.toarray),
    }


def _compressed_tensors(module: Any, w: Array, pruned: Array, threads: int) -> Recipes:
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    tensor = torch.from_numpy(pruned)
    values, bits, _ = module.bitmask_compress(tensor)
    return {
        "pack, 50 %": Recipe(
            lambda: module.bitmask_compress(tensor), lambda packed: packed[0].numpy()
        ),
        "unpack, 50 %": Recipe(lambda: module.bitmask_decompress(values, bits, w.shape)),
    }


def _coremltools(module: Any, w: Array, pruned: Array, threads: int) -> Recipes:  # noqa: ARG001
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    prune = module.prune_weights

    def kept(params: Any) -> Array:
        return np.asarray(params.nonzero_data)

    return {
        "2:4 prune and pack": Recipe(lambda: prune.compress_by_nm_sparsity(w, (2, 4), 1), kept),
        "50 % prune and pack": Recipe(lambda: prune.compress_by_magnitude(w, 0.5), kept),
        "4x1 block prune and pack": Recipe(
            lambda: prune.compress_by_magnitude(w, 0.5, BLOCK, 0), kept
        ),
    }


_RECIPES: dict[str, Callable[[Any, Array, Array, int], Recipes]] = {
    "NumPy": _numpy,
    "SciPy": _scipy,
    "torch": _torch,
    "compressed-tensors": _compressed_tensors,
    "coremltools": _coremltools,
}
