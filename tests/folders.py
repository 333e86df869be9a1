"""Small folders of models to test with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

import prunepack as pp

if TYPE_CHECKING:
    from pathlib import Path

    from models import Tensors

INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
LINEARS = tuple(
    f"model.layers.{i}.mlp.{kind}_proj.weight" for i in (0, 1) for kind in ("up", "down")
)
EXTRAS = {
    "config.json": '{"hidden_size": 64, "rms_norm_eps": 1e-06}\n',
    "tokenizer.json": '{"version": "1.0"}',
    "1_Pooling/config.json": "{}",
}


def transformer() -> Tensors:
    """Return four matrices to prune, an embedding, a head, a norm and integers."""
    random = np.random.default_rng(21)

    def normal(*shape: int) -> Any:
        return random.standard_normal(shape).astype(ml_dtypes.bfloat16)

    return {
        "model.embed_tokens.weight": normal(80, 64),
        LINEARS[0]: normal(96, 64),
        LINEARS[1]: normal(64, 96),
        "model.layers.0.input_layernorm.weight": normal(64),
        LINEARS[2]: normal(96, 64),
        LINEARS[3]: normal(64, 96),
        "model.position_ids": np.arange(64)[None],
        "lm_head.weight": normal(80, 64),
    }


def write_folder(
    path: Path, tensors: Tensors | None = None, shards: tuple[str, ...] = SHARDS
) -> Path:
    """Write a folder as Hugging Face does: tensors in `shards` in turn, an index, other files."""
    tensors = transformer() if tensors is None else tensors
    path.mkdir()
    names = list(tensors)
    each = -(-len(names) // len(shards))
    shard_of = {name: shards[index // each] for index, name in enumerate(names)}
    for shard in shards:
        inside = {name: w for name, w in tensors.items() if shard_of[name] == shard}
        pp.save_file(inside, path / shard, metadata={"format": "pt"})
    write_index(path, shard_of)
    for name, text in EXTRAS.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(text)
    return path


def write_index(path: Path, shard_of: dict[str, str], **metadata: Any) -> None:
    tree = {"metadata": {"total_size": 1, **metadata}, "weight_map": shard_of}
    (path / INDEX).write_text(json.dumps(tree))


def read_index(path: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((path / INDEX).read_text())
    return tree


def tensors_of(path: Path) -> Tensors:
    """Load every tensor of a folder with the shards of its index, dense."""
    found: Tensors = {}
    for shard in sorted(set(read_index(path)["weight_map"].values())):
        for name, tensor in pp.load_file(path / shard).items():
            dense = tensor.to_dense() if isinstance(tensor, pp.PackedTensor) else tensor
            assert isinstance(dense, np.ndarray)
            found[name] = dense
    return found


def contents(path: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
