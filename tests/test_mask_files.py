"""Masks by themselves: written, read, refused, and applied to another checkpoint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy

import prunepack as pp
import reference
from models import WEIGHTS, dense_of, pruned, small_model
from prunepack._cli import main
from prunepack._mask_file import MaskInfo, create_masks, open_masks
from samples import same_bits

if TYPE_CHECKING:
    from pathlib import Path

    from models import Tensors

PATTERN = pp.NM(3, 4)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    pp.save_file(small_model(), path)
    return path


@pytest.fixture(params=[".safetensors", ".npz"])
def masks(source: Path, request: pytest.FixtureRequest) -> Path:
    path = source.with_name(f"masks{request.param}")
    pp.mask_checkpoint(source, path, PATTERN, num_threads=2)
    return path


def tuned() -> Tensors:
    """Another model of the same shapes, in which nothing is zero."""
    return {
        name: (w + np.ones((), w.dtype)) if w.dtype.kind not in "b" else w
        for name, w in small_model().items()
    }


def wanted(model: Tensors) -> Tensors:
    """Prune `model` where the reference prunes the small model."""
    return {
        name: reference.prune(w, reference.kept(small_model()[name], PATTERN))
        if name in WEIGHTS
        else w
        for name, w in model.items()
    }


def check(path: Path, model: Tensors) -> None:
    found = dense_of(path)
    assert found.keys() == model.keys()
    for name, w in model.items():
        assert same_bits(found[name], w), name


def test_what_is_written(source: Path, masks: Path) -> None:
    with open_masks(masks) as file:
        assert sorted(file.infos) == sorted(WEIGHTS)
        for name in WEIGHTS:
            w = small_model()[name]
            assert file.infos[name] == MaskInfo(w.shape, str(PATTERN))
            assert same_bits(file.read(name).to_bool(), reference.kept(w, PATTERN))
    assert masks.stat().st_size < source.stat().st_size / 8


def test_any_reader_can_read_them(masks: Path) -> None:
    if masks.suffix == ".npz":
        with np.load(masks) as archive:
            bits = archive["head"]
    else:
        bits = safetensors.numpy.load_file(masks)["head"]
    kept = np.unpackbits(bits, axis=-1, count=80, bitorder="little").astype(bool)
    assert same_bits(kept, reference.kept(small_model()["head"], PATTERN))


def test_the_report(source: Path, tmp_path: Path) -> None:
    report = pp.mask_checkpoint(source, tmp_path / "masks.safetensors", PATTERN)
    assert [t.name for t in report.tensors] == sorted(WEIGHTS)
    kept = sum(int(reference.kept(small_model()[name], PATTERN).sum()) for name in WEIGHTS)
    assert sum(t.kept for t in report.tensors) == kept
    assert report.sparsity == 1 - kept / report.weights
    assert report.bytes_after == (tmp_path / "masks.safetensors").stat().st_size
    assert json.loads(json.dumps(report.to_json()))["tensors"][0]["pattern"] == str(PATTERN)


@pytest.mark.parametrize("form", ["packed", "dense", "sparse-bitmask"])
@pytest.mark.parametrize("threads", [1, 3])
def test_applied_to_another(masks: Path, tmp_path: Path, form: Any, threads: int) -> None:
    other, target = tmp_path / "tuned.safetensors", tmp_path / "small.safetensors"
    pp.save_file(tuned(), other)
    report = pp.apply_masks(masks, other, target, format=form, num_threads=threads)
    check(target, wanted(tuned()))
    assert {t.name for t in report.tensors if t.action == "pruned"} == set(WEIGHTS)
    assert any(t.packed for t in report.tensors) == (form != "dense")


def test_applied_to_its_own_is_prune(source: Path, masks: Path, tmp_path: Path) -> None:
    pp.apply_masks(masks, source, tmp_path / "applied.safetensors")
    pp.prune_checkpoint(source, tmp_path / "pruned.safetensors", PATTERN)
    applied, direct = (tmp_path / f"{name}.safetensors" for name in ("applied", "pruned"))
    assert applied.read_bytes() == direct.read_bytes()


def test_applied_to_shards(masks: Path, tmp_path: Path) -> None:
    other = tmp_path / "tuned.safetensors"
    pp.save_file(tuned(), other)
    pp.unpack_checkpoint(other, tmp_path / "folder", max_shard_size=20_000)
    pp.apply_masks(masks, tmp_path / "folder", tmp_path / "small")
    pp.unpack_checkpoint(tmp_path / "small", tmp_path / "dense.safetensors")
    check(tmp_path / "dense.safetensors", wanted(tuned()))


def test_applied_in_place(masks: Path, tmp_path: Path) -> None:
    other = tmp_path / "tuned.safetensors"
    pp.save_file(tuned(), other)
    predicted = pp.apply_masks(masks, other, None, dry_run=True)
    report = pp.apply_masks(masks, other, other, in_place=True)
    check(other, wanted(tuned()))
    assert predicted.bytes_after == report.bytes_after


def test_masks_of_a_packed_checkpoint(source: Path, tmp_path: Path) -> None:
    small, other, target = (tmp_path / f"{name}.safetensors" for name in ("small", "other", "out"))
    pp.prune_checkpoint(source, small, PATTERN, even_if_larger=True)
    pp.save_file(tuned(), other)
    pp.apply_masks(small, other, target)
    check(target, wanted(tuned()))


def test_zeros_beyond_the_mask(source: Path, masks: Path, tmp_path: Path) -> None:
    """A tensor that is packed already, with fewer values than the mask keeps."""
    sparse, target = tmp_path / "sparse.safetensors", tmp_path / "small.safetensors"
    pp.prune_checkpoint(source, sparse, pp.Unstructured(0.95), include=["head"])
    pp.apply_masks(masks, sparse, target)
    check(target, wanted(pruned(small_model(), pp.Unstructured(0.95), ("head",))))


def test_a_tensor_that_is_missing(masks: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    pp.save_file({"x.weight": np.ones((64, 64), np.float32)}, other)
    with pytest.raises(ValueError, match=r"mask 'head' must have a tensor of its name in .*other"):
        pp.apply_masks(masks, other, tmp_path / "small.safetensors")
    assert not (tmp_path / "small.safetensors").exists()


def test_another_shape(masks: Path, tmp_path: Path) -> None:
    model = small_model() | {"head": np.ones((80, 40), np.float32)}
    other = tmp_path / "other.safetensors"
    pp.save_file(model, other)
    with pytest.raises(
        ValueError,
        match=r"'head' of .* must have the shape of its mask in .*, \(40, 80\), got \(80, 40\)",
    ):
        pp.apply_masks(masks, other, tmp_path / "small.safetensors")


def test_another_kind_of_dtype(masks: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    pp.save_file(small_model() | {"head": np.ones((40, 80), np.int64)}, other)
    with pytest.raises(ValueError, match=r"'head' of .* must have a dtype to prune, got I64"):
        pp.apply_masks(masks, other, tmp_path / "small.safetensors")


def test_no_masks(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be a file of masks or have packed tensors"):
        pp.apply_masks(source, source, tmp_path / "small.safetensors")


def test_nothing_to_mask(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none of the 9 tensors is a weight to prune"):
        pp.mask_checkpoint(source, tmp_path / "m.safetensors", PATTERN, min_size=10**9)
    with pytest.raises(ValueError, match=r"is the checkpoint to read"):
        pp.mask_checkpoint(source, source, PATTERN)


SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (3, 0), (0, 3), (9,), (2, 3, 17))


def test_shapes_of_all_kinds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = {str(shape): pp.Mask.from_bool(rng.random(shape) < 0.5) for shape in SHAPES}
    path = tmp_path / "masks.safetensors"
    with create_masks(path, {name: MaskInfo(mask.shape) for name, mask in masks.items()}) as out:
        for name, mask in masks.items():
            out.write(name, mask)
    with open_masks(path) as file:
        for name, mask in masks.items():
            assert file.read(name) == mask


def test_apply_mask_to_an_array() -> None:
    w = small_model()["head"]
    mask = pp.prune_mask(w, PATTERN)
    kept = reference.kept(w, PATTERN)
    assert same_bits(pp.apply_mask(w, mask), reference.prune(w, kept))
    assert same_bits(pp.apply_mask(w, kept), reference.prune(w, kept))
    out = w.copy()
    assert pp.apply_mask(out, mask, out=out) is out
    assert same_bits(out, reference.prune(w, kept))
    with pytest.raises(ValueError, match=r"mask must have the shape of w, \(40, 80\), got \(3,\)"):
        pp.apply_mask(w, np.ones(3, bool))


def test_the_command_line(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks, other, target = (tmp_path / f"{n}.safetensors" for n in ("masks", "other", "out"))
    pp.save_file(tuned(), other)
    assert main(["mask", str(source), str(masks), "--nm", "3:4"]) == 0
    told = capsys.readouterr().out
    assert "4 masks" in told
    assert "pruned: 3:4" in told
    assert main(["apply", str(masks), str(other), str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rules"] == f"the masks of {masks}"
    check(target, wanted(tuned()))
    assert main(["mask", str(source), str(masks), "--nm", "3:4", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["tensors"]) == len(WEIGHTS)
