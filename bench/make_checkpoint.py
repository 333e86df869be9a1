"""Write a checkpoint shaped like a transformer, of any size, without holding it in memory.

    python bench/make_checkpoint.py FOLDER --size 8GB

makes shards of bfloat16, their index, a config.json and a tokenizer. Layers have four projections
and a gated MLP; there are an embedding, an output head and norms. The weights are normal with a
scale of their own for each channel, from a fixed seed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from prunepack._file_writer import create_file
from prunepack._index import index_text
from prunepack._tensor_info import TensorInfo
from prunepack._words import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

WIDTHS = ((4096, 14336, 128_000), (2048, 5632, 32_000), (1024, 2816, 16_000), (256, 704, 4000))
CHUNK = 1 << 22


def shapes(width: int, hidden: int, vocabulary: int, layers: int) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a model, in order."""
    made: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, width)}
    for index in range(layers):
        layer = f"model.layers.{index}"
        made |= {
            f"{layer}.self_attn.q_proj.weight": (width, width),
            f"{layer}.self_attn.k_proj.weight": (width // 4, width),
            f"{layer}.self_attn.v_proj.weight": (width // 4, width),
            f"{layer}.self_attn.o_proj.weight": (width, width),
            f"{layer}.mlp.gate_proj.weight": (hidden, width),
            f"{layer}.mlp.up_proj.weight": (hidden, width),
            f"{layer}.mlp.down_proj.weight": (width, hidden),
            f"{layer}.input_layernorm.weight": (width,),
            f"{layer}.post_attention_layernorm.weight": (width,),
        }
    return made | {"model.norm.weight": (width,), "lm_head.weight": (vocabulary, width)}


def of_size(nbytes: int) -> dict[str, tuple[int, ...]]:
    """Return the widest model of at most six layers and more whose size is about `nbytes`."""
    for width, hidden, vocabulary in WIDTHS:
        ends = total(shapes(width, hidden, vocabulary, 0))
        layer = total(shapes(width, hidden, vocabulary, 1)) - ends
        layers = round((nbytes - ends) / layer)
        if layers >= 6:
            break
    return shapes(width, hidden, vocabulary, max(layers, 1))


def total(tensors: dict[str, tuple[int, ...]]) -> int:
    """Return the bytes of tensors of bfloat16."""
    return sum(2 * int(np.prod(shape)) for shape in tensors.values())


def weights(shape: tuple[int, ...], random: np.random.Generator) -> npt.NDArray[Any]:
    """Return a matrix or a vector of bfloat16, made a few rows at a time."""
    made = np.empty(shape, ml_dtypes.bfloat16)
    if len(shape) == 1:
        made[:] = 1 + 0.1 * random.standard_normal(shape, np.float32)
        return made
    rows = max(1, CHUNK // shape[1])
    # Numbers are drawn once and used again with other scales: that is enough for a benchmark.
    normal = random.standard_normal((rows, shape[1]), np.float32)
    for first in range(0, shape[0], rows):
        some = min(rows, shape[0] - first)
        scale = 0.02 * random.lognormal(sigma=0.4, size=(some, 1)).astype(np.float32)
        made[first : first + some] = np.roll(normal, first // rows)[:some] * scale
    return made


def shards(tensors: dict[str, tuple[int, ...]], limit: int) -> Iterator[list[str]]:
    """Yield the names of the tensors of each shard."""
    names: list[str] = []
    for name in tensors:
        if names and total({n: tensors[n] for n in (*names, name)}) > limit:
            yield names
            names = []
        names.append(name)
    yield names


def make(folder: Path, nbytes: int, shard_size: int) -> None:
    """Write a checkpoint of about `nbytes`."""
    folder.mkdir()
    tensors = of_size(nbytes)
    groups = list(shards(tensors, shard_size))
    random = np.random.default_rng(11)
    shard_of = {}
    for number, names in enumerate(groups, 1):
        shard = f"model-{number:05}-of-{len(groups):05}.safetensors"
        plan = {name: TensorInfo("BF16", tensors[name]) for name in sorted(names)}
        with create_file(folder / shard, plan, metadata={"format": "pt"}) as file:
            for name in plan:
                file.write(name, weights(tensors[name], random))
        shard_of.update(dict.fromkeys(names, shard))
    text = index_text(shard_of, {}, total(tensors))
    (folder / "model.safetensors.index.json").write_text(text)
    config = {"architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "tokenizer.json").write_text(json.dumps({"made": "up"}))


def main() -> None:
    """Read the command line, write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=size, default=size("500MB"))
    parser.add_argument("--shard-size", type=size, default=size("2GB"))
    options = parser.parse_args()
    make(options.folder, options.size, options.shard_size)


if __name__ == "__main__":
    main()
