"""Sound files of every kind that is read, each a folder's content: what a fuzz input spoils."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import prunepack as pp
from prunepack._entries import RawTensor
from prunepack._model_config import FORMATS
from prunepack._safetensors import SafetensorsFile

RULES = """nm = "2:4"
axis = 1
[[rule]]
name = ["*.0.*", "*.31.*"]
then = "skip"
[[rule]]
regex = "down_(proj|up)"
min_size = 1_000
max_rank = 4
sparsity = 0.5
scope = "row"
[[rule]]
dtype = "BF16"
shape = ["*", 4096]
block = "4x1"
sparsity = 0.5
norm = "l1"
[[rule]]
min_rank = 2
sparsity = 0.6
scope = "model"
normalize = "l2"
max_sparsity = 0.9
[[rule]]
threshold = 1e-3
"""


@functools.lru_cache(maxsize=1)
def seeds() -> tuple[dict[str, bytes], ...]:
    """Return, for each seed, its files by name; the first one is what is opened."""
    with tempfile.TemporaryDirectory() as folder:
        return tuple(_made(Path(folder)))


def _weights() -> dict[str, Any]:
    random = np.random.default_rng(6)
    matrix = random.standard_normal((6, 20)).astype(np.float32)
    return {
        "fc.weight": pp.pack(matrix, pp.prune_mask(matrix, pp.NM(3, 4))),
        "conv.weight": pp.pack(np.arange(24, dtype=ml_dtypes.bfloat16).reshape(2, 3, 4) % 3),
        "fc.bias": np.arange(3, dtype=np.float16),
        "ids": np.arange(4, dtype=np.int64),
        "flag": np.array(True),
    }


def _made(folder: Path) -> list[dict[str, bytes]]:
    made = []

    def add(name: str, *others: str) -> None:
        made.append({each: (folder / each).read_bytes() for each in (name, *others)})

    weights = _weights()
    more = {
        **weights,
        "raw": RawTensor("F4", (4,), np.zeros(2, np.uint8)),
        "none": np.empty((3, 0)),
    }
    pp.save_file(more, folder / "m.safetensors", metadata={"format": "pt"})
    add("m.safetensors")
    foreign = {name: tensor for name, tensor in weights.items() if name != "conv.weight"}
    packed = np.array([[1, 2, 0, 0, 0, 0, 3, 4]] * 3, np.int8)
    pp.save_file({"fc.weight": pp.pack(packed)}, folder / "plain.safetensors")
    storage: Any
    for storage in FORMATS[1:]:
        source, target = folder / "plain.safetensors", folder / f"{storage}.safetensors"
        pp.pack_checkpoint(source, target, min_size=1, format=storage, even_if_larger=True)
        add(target.name)
    pp.save_file(foreign, folder / "m.npz", metadata={"format": "pt"})
    add("m.npz")
    np.savez_compressed(folder / "z.npz", a=np.zeros((40, 40)), b=np.arange(3))
    add("z.npz")
    np.save(folder / "a.npy", np.asfortranarray(np.arange(6).reshape(2, 3)))
    add("a.npy")
    pp.mask_checkpoint(folder / "m.npz", folder / "masks.safetensors", pp.NM(2, 4), min_size=1)
    add("masks.safetensors")
    (folder / "rules.toml").write_text(RULES)
    add("rules.toml")

    shard = "model-00001-of-00001.safetensors"
    pp.save_file(foreign, folder / shard)
    with SafetensorsFile(folder / shard) as file:
        index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(file.names, shard)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    sparsity = {"format": FORMATS[1], "global_sparsity": 0.5, "ignore": ["lm_head"]}
    config = {
        "hidden_size": 8,
        "quantization_config": {"sparsity_config": sparsity, "version": "1"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    names = ("model.safetensors.index.json", "config.json", shard)
    add(*names)
    add("config.json", names[0], shard)
    add(shard, *names[:2])
    return made
