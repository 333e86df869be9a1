"""Checkpoints whose weights are ranked together, from files and folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prunepack as pp
import reference
from models import WEIGHTS, dense_of, small_model
from prunepack._cli import main
from samples import same_bits

MODEL = pp.Unstructured(0.6, scope="model")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    pp.save_file(small_model(), path)
    return path


def expected(pattern: pp.Unstructured, names: tuple[str, ...] = WEIGHTS) -> dict[str, Any]:
    model = small_model()
    names = tuple(sorted(names))
    kept = reference.kept_together(
        [model[name] for name in names],
        pattern.sparsity,
        normalize=pattern.normalize is not None,
        min_sparsity=pattern.min_sparsity,
        max_sparsity=pattern.max_sparsity,
    )
    for name, keep in zip(names, kept, strict=True):
        model[name] = reference.prune(model[name], keep)
    return model


def check(path: Path, wanted: dict[str, Any]) -> None:
    found = dense_of(path)
    assert found.keys() == wanted.keys()
    for name, w in wanted.items():
        assert same_bits(found[name], w), name


@pytest.mark.parametrize(
    "pattern",
    [
        MODEL,
        replace(MODEL, normalize="l2"),
        replace(MODEL, min_sparsity=0.5, max_sparsity=0.65),
        replace(MODEL, sparsity=0.0),
    ],
    ids=str,
)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_file(source: Path, tmp_path: Path, pattern: pp.Unstructured, threads: int) -> None:
    target = tmp_path / "small.safetensors"
    report = pp.prune_checkpoint(source, target, pattern, num_threads=threads)
    check(target, expected(pattern))
    weights = sum(t.weights for t in report.tensors if t.name in WEIGHTS)
    kept = sum(t.kept or 0 for t in report.tensors if t.name in WEIGHTS)
    assert kept == weights - round(pattern.sparsity * weights)
    assert pp.verify_checkpoint(target, pattern).ok


def test_shards_make_no_difference(source: Path, tmp_path: Path) -> None:
    folder, small = tmp_path / "folder", tmp_path / "small"
    pp.unpack_checkpoint(source, folder, max_shard_size=20_000)
    assert len(list(folder.glob("*.safetensors"))) > 2
    pp.prune_checkpoint(folder, small, MODEL)
    pp.unpack_checkpoint(small, tmp_path / "dense.safetensors")
    check(tmp_path / "dense.safetensors", expected(MODEL))
    assert pp.verify_checkpoint(small, MODEL).ok


def test_packed_tensors_are_ranked_too(source: Path, tmp_path: Path) -> None:
    packed, target = tmp_path / "packed.safetensors", tmp_path / "small.safetensors"
    pp.prune_checkpoint(source, packed, pp.NM(1, 2), include=["head"])
    pp.prune_checkpoint(packed, target, MODEL)
    assert pp.verify_checkpoint(target, MODEL).ok


def test_a_dry_run_predicts_the_counts(source: Path, tmp_path: Path) -> None:
    predicted = pp.prune_checkpoint(source, None, MODEL, dry_run=True)
    report = pp.prune_checkpoint(source, tmp_path / "small.safetensors", MODEL)
    assert predicted.bytes_after == report.bytes_after
    assert [t.kept for t in predicted.tensors] == [t.kept for t in report.tensors]


def test_bounds_by_rules_are_one_population(source: Path, tmp_path: Path) -> None:
    """What one tensor may not lose, the others lose."""
    target = tmp_path / "small.safetensors"
    rules = [pp.Rule(replace(MODEL, max_sparsity=0.6), name="head"), pp.Rule(MODEL, min_size=2048)]
    report = pp.prune_checkpoint(
        source, target, rules, include=[*WEIGHTS], num_threads=2, defaults=False
    )
    pruned = [t for t in report.tensors if t.name in WEIGHTS]
    weights, kept = sum(t.weights for t in pruned), sum(t.kept or 0 for t in pruned)
    assert kept == weights - round(0.6 * weights)
    head = next(t for t in pruned if t.name == "head")
    assert head.sparsity is not None
    assert head.sparsity <= 0.6
    assert pp.verify_checkpoint(target, pp.Rules(tuple(rules)), include=[*WEIGHTS]).ok


def test_two_sparsities_are_two_populations(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "small.safetensors"
    rules = pp.Rules((pp.Rule(replace(MODEL, sparsity=0.25), name="head"),), otherwise=MODEL)
    pp.prune_checkpoint(source, target, rules)
    others = tuple(name for name in WEIGHTS if name != "head")
    wanted = expected(MODEL, others)
    wanted["head"] = expected(replace(MODEL, sparsity=0.25), ("head",))["head"]
    check(target, wanted)


def test_twins_stay_twins(tmp_path: Path) -> None:
    w = np.random.default_rng(0).integers(-3, 4, (64, 64)).astype(np.float32)
    pp.save_file({"a.weight": w, "b.weight": w, "c.weight": w + 1}, tmp_path / "m.safetensors")
    pp.prune_checkpoint(tmp_path / "m.safetensors", tmp_path / "s.safetensors", MODEL)
    found = dense_of(tmp_path / "s.safetensors")
    assert same_bits(found["a.weight"], found["b.weight"])


def test_verify_counts_over_the_model(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "small.safetensors"
    pp.prune_checkpoint(source, target, MODEL)
    report = pp.verify_checkpoint(target, replace(MODEL, sparsity=0.61))
    assert not report.ok
    assert report.first is not None
    assert report.first.name in WEIGHTS
    assert "zeros of" in report.first.message
    assert "needed" in report.first.message
    assert report.to_json()["first"]["name"] == report.first.name
    floor = pp.verify_checkpoint(target, replace(MODEL, min_sparsity=0.6))
    assert [t.ok for t in floor.tensors].count(False) >= 1


def test_the_first_broken_rule_is_told(source: Path) -> None:
    rules = pp.Rules((pp.Rule(pp.NM(0, 4), name="head"),), otherwise=pp.NM(1, 4))
    report = pp.verify_checkpoint(source, rules)
    assert report.first is not None
    first = next(t for t in report.tensors if t.name != "head")
    assert report.first == first
    assert first.rule is None
    assert first.first is not None
    assert set(first.first) == {0}


def test_the_command_line(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "small.safetensors"
    words = ["--sparsity", "60%", "--scope", "model", "--normalize", "l2", "--max-sparsity", "0.7"]
    assert main(["prune", str(source), str(target), *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rules"] == (
        "unstructured 60 % of the model, l2 normalized, 0 % to 70 % of each tensor"
    )
    check(target, expected(replace(MODEL, normalize="l2", max_sparsity=0.7)))
    assert main(["verify", str(target), *words]) == 0
    assert (
        main(["prune", str(source), str(target), "--sparsity", ".6", "--min-sparsity", ".5"]) == 2
    )
    assert "--min-sparsity goes with --scope model" in capsys.readouterr().err


def test_a_file_of_rules(source: Path, tmp_path: Path) -> None:
    path, target = tmp_path / "rules.toml", tmp_path / "small.safetensors"
    path.write_text('sparsity = 0.6\nscope = "model"\nnormalize = "l2"\nmax_sparsity = 0.7\n')
    pp.prune_checkpoint(source, target, pp.load_rules(path))
    check(target, expected(replace(MODEL, normalize="l2", max_sparsity=0.7)))
    path.write_text('nm = "2:4"\nmin_sparsity = 0.1\n')
    with pytest.raises(pp.FormatError, match="min_sparsity: does not go with nm"):
        pp.load_rules(path)
