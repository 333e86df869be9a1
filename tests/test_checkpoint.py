"""Whole files: pruned, packed, unpacked, inspected and verified, tensor by tensor.

In scope: which tensors are worked on, what is stored, what the reports say, and that a
failure leaves the target alone. The masks themselves and the bytes of the formats have
tests of their own.
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open

import prunepack as pp
import reference
from models import WEIGHTS, dense_of, pruned, small_model
from prunepack._checkpoint import find_structure
from prunepack._entries import RawTensor
from samples import same_bits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from models import Tensors

PATTERNS = (
    pp.Unstructured(0.5),
    pp.Unstructured(0.75, scope="row"),
    pp.NM(3, 4),
    pp.NM(1, 2, axis=0),
    pp.Block((4, 1), 0.5),
    pp.Threshold(0.7),
)
SUFFIXES = (".safetensors", ".npz")


@pytest.fixture(scope="module")
def model() -> Tensors:
    return small_model()


@pytest.fixture
def path(tmp_path: Path, model: Tensors) -> Path:
    made = tmp_path / "model.safetensors"
    pp.save_file(model, made, metadata={"format": "pt"})
    return made


def assert_same(actual: Tensors, expected: Tensors) -> None:
    assert actual.keys() == expected.keys()
    different = [name for name in expected if not same_bits(actual[name], expected[name])]
    assert different == []


def by_name(report: Any) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in report.tensors}


# --- pruning ----------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_pruned_and_unpacked_is_the_reference(
    tmp_path: Path, path: Path, model: Tensors, pattern: pp.Pattern
) -> None:
    report = pp.prune_checkpoint(path, tmp_path / "packed.safetensors", pattern)
    pp.unpack_checkpoint(tmp_path / "packed.safetensors", tmp_path / "dense.safetensors")

    assert_same(dense_of(tmp_path / "packed.safetensors"), pruned(model, pattern))
    assert_same(dense_of(tmp_path / "dense.safetensors"), pruned(model, pattern))
    assert {t.name for t in report.tensors if t.action == "pruned"} == set(WEIGHTS)
    # 8 bytes of offset for each row of 3 weights are more than packing saves.
    stayed_dense = {t.name for t in report.tensors if t.action == "pruned" and not t.packed}
    assert stayed_dense == {"layers.10.conv.weight"}


@pytest.mark.parametrize("after", SUFFIXES)
@pytest.mark.parametrize("before", SUFFIXES)
def test_any_format_becomes_any_other(
    tmp_path: Path, model: Tensors, before: str, after: str
) -> None:
    pp.save_file(model, tmp_path / f"model{before}")
    pp.prune_checkpoint(tmp_path / f"model{before}", tmp_path / f"packed{after}", pp.NM(2, 4))
    pp.unpack_checkpoint(tmp_path / f"packed{after}", tmp_path / f"dense{before}")
    assert_same(dense_of(tmp_path / f"dense{before}"), pruned(model, pp.NM(2, 4)))


def test_dense_format_is_read_by_the_safetensors_library(
    tmp_path: Path, path: Path, model: Tensors
) -> None:
    out = tmp_path / "dense.safetensors"
    report = pp.prune_checkpoint(path, out, pp.NM(2, 4), format="dense")
    assert not any(t.packed for t in report.tensors)
    expected = pruned(model, pp.NM(2, 4))
    with safe_open(out, framework="numpy") as file:
        assert set(file.keys()) == set(expected)
        assert file.metadata() == {"format": "pt"}
        assert same_bits(file.get_tensor("layers.2.weight"), expected["layers.2.weight"])


def test_metadata_and_pattern_are_kept(tmp_path: Path, path: Path) -> None:
    pp.prune_checkpoint(path, tmp_path / "out.safetensors", pp.NM(3, 4))
    with safe_open(tmp_path / "out.safetensors", framework="numpy") as file:
        assert file.metadata()["format"] == "pt"
    found = by_name(pp.inspect_checkpoint(tmp_path / "out.safetensors"))
    assert found["head"].recorded == "3:4 (75 % sparse)"
    assert found["layers.0.bias"].recorded is None


def test_a_file_can_be_pruned_in_place(path: Path, model: Tensors) -> None:
    pp.prune_checkpoint(path, path, pp.Unstructured(0.75), in_place=True)
    assert_same(dense_of(path), pruned(model, pp.Unstructured(0.75)))


def test_packed_tensors_are_pruned_again(tmp_path: Path, path: Path, model: Tensors) -> None:
    pp.prune_checkpoint(path, tmp_path / "half.safetensors", pp.Unstructured(0.5))
    report = pp.prune_checkpoint(tmp_path / "half.safetensors", path, pp.Unstructured(0.75))
    assert_same(dense_of(path), pruned(model, pp.Unstructured(0.75)))
    assert by_name(report)["head"].bytes_before < 40 * 80 * 4


def test_packed_tensors_that_are_not_selected_stay_packed(tmp_path: Path, path: Path) -> None:
    half = tmp_path / "half.safetensors"
    pp.prune_checkpoint(path, half, pp.Unstructured(0.5))
    report = by_name(pp.prune_checkpoint(half, path, pp.NM(3, 4), include=["head"]))
    before, after = pp.load_file(half), pp.load_file(path)
    assert report["layers.2.weight"].action == "unchanged"
    assert isinstance(after["layers.2.weight"], pp.PackedTensor)
    assert after["layers.2.weight"] == before["layers.2.weight"]
    assert by_name(pp.inspect_checkpoint(path))["layers.2.weight"].recorded == "unstructured 50 %"


def test_dense_format_leaves_nothing_packed(tmp_path: Path, path: Path, model: Tensors) -> None:
    half = tmp_path / "half.safetensors"
    pp.prune_checkpoint(path, half, pp.Unstructured(0.5))
    pp.prune_checkpoint(half, path, pp.Unstructured(0.75), include=["head"], format="dense")
    assert not any(t.packed for t in pp.inspect_checkpoint(path).tensors)
    expected = pruned(model, pp.Unstructured(0.5)) | pruned(
        {"head": model["head"]}, pp.Unstructured(0.75)
    )
    assert_same(dense_of(path), expected)


def test_unknown_dtypes_pass_through(tmp_path: Path) -> None:
    raw = RawTensor("F4", (64, 64), np.arange(2048, dtype=np.uint8))
    weights = np.ones((64, 64), np.float32)
    pp.save_file({"raw": raw, "w": weights}, tmp_path / "in.safetensors")
    report = pp.prune_checkpoint(
        tmp_path / "in.safetensors", tmp_path / "out.safetensors", pp.NM(3, 4)
    )
    found = pp.load_file(tmp_path / "out.safetensors")["raw"]
    assert isinstance(found, RawTensor)
    assert (found.dtype, found.shape) == ("F4", (64, 64))
    assert found.data.tobytes() == raw.data.tobytes()
    assert by_name(report)["raw"].note == "dtype F4"


# --- which tensors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, WEIGHTS),
        (
            {"include": ["layers.*"]},
            ("layers.0.weight", "layers.2.weight", "layers.10.conv.weight"),
        ),
        ({"include": ["head", "layers.0*"]}, ("head", "layers.0.weight")),
        ({"exclude": ["*.weight"]}, ("head",)),
        ({"include": ["layers*"], "exclude": ["*conv*"]}, ("layers.0.weight", "layers.2.weight")),
        ({"min_size": 3300}, ("layers.2.weight", "layers.10.conv.weight")),
        ({"min_size": 3301}, ("layers.10.conv.weight",)),
        ({"min_rank": 3}, ("layers.10.conv.weight",)),
        ({"min_size": 0}, (*WEIGHTS, "tiny.weight")),
        ({"min_rank": 1}, WEIGHTS),
        ({"min_rank": 1, "defaults": False}, (*WEIGHTS, "layers.0.bias")),
    ],
)
def test_selection(
    tmp_path: Path, path: Path, model: Tensors, options: dict[str, Any], names: tuple[str, ...]
) -> None:
    out = tmp_path / "out.safetensors"
    report = pp.prune_checkpoint(path, out, pp.NM(3, 4), **options)
    assert {t.name for t in report.tensors if t.action == "pruned"} == set(names)
    assert_same(dense_of(out), pruned(model, pp.NM(3, 4), names))


def test_reasons_to_leave_a_tensor_alone(tmp_path: Path, path: Path) -> None:
    report = pp.prune_checkpoint(path, tmp_path / "out.safetensors", pp.NM(3, 4), exclude=["head"])
    assert {name: t.note for name, t in by_name(report).items() if t.action == "unchanged"} == {
        "layers.0.bias": "rank 1",
        "layers.0.norm.weight": "rank 1",
        "tiny.weight": "fewer than 2,048 elements",
        "position_ids": "dtype I64",
        "flags": "dtype BOOL",
        "head": "excluded",
    }


def test_include_that_matches_nothing_is_an_error(tmp_path: Path, path: Path) -> None:
    out = tmp_path / "out.safetensors"
    with pytest.raises(ValueError, match=r"^include 'haed' matches none of the 9 tensors; the"):
        pp.prune_checkpoint(path, out, pp.NM(3, 4), include=["haed"])
    assert not out.exists()


@pytest.mark.parametrize("argument", ["include", "exclude"])
def test_globs_are_not_one_string(tmp_path: Path, path: Path, argument: str) -> None:
    globs: Any = {argument: "*"}
    message = rf"{argument} must be an iterable of globs, got a str; write \['\*'\]"
    for call in (pp.prune_checkpoint, pp.pack_checkpoint, pp.verify_checkpoint):
        words = (path,) if call is pp.verify_checkpoint else (path, tmp_path / "out.npz")
        more = () if call is pp.pack_checkpoint else (pp.NM(3, 4),)
        with pytest.raises(TypeError, match=message):
            call(*words, *more, **globs)


def test_what_is_no_pattern_is_told_before_any_tensor(tmp_path: Path, path: Path) -> None:
    nothing: Any = None
    with pytest.raises(TypeError, match=r"^rules must be a pattern \(Unstructured"):
        pp.prune_checkpoint(path, tmp_path / "out.npz", nothing)
    with pytest.raises(TypeError, match=r"^rules must be a pattern \(Unstructured"):
        pp.verify_checkpoint(path, nothing)


def test_exclude_that_matches_nothing_is_noted(tmp_path: Path, path: Path) -> None:
    out = tmp_path / "out.safetensors"
    report = pp.prune_checkpoint(path, out, pp.NM(3, 4), exclude=["lm_head*"])
    assert report.notes == ("exclude 'lm_head*' matches no tensor",)


def test_pattern_that_does_not_fit_names_the_tensor(tmp_path: Path, path: Path) -> None:
    with pytest.raises(ValueError, match=r"^tensor '[a-z0-9.]+': axis must be an axis"):
        pp.prune_checkpoint(path, tmp_path / "out.safetensors", pp.NM(3, 4, axis=2))


# --- packed or dense --------------------------------------------------------------------------


def test_what_packing_would_not_shrink_stays_dense(
    tmp_path: Path, path: Path, model: Tensors
) -> None:
    out = tmp_path / "out.safetensors"
    report = pp.prune_checkpoint(path, out, pp.Unstructured(0.01))
    assert_same(dense_of(out), pruned(model, pp.Unstructured(0.01)))
    assert {t.note for t in report.tensors if t.action == "pruned"} == {
        "stayed dense: packing would not make it smaller"
    }

    report = pp.prune_checkpoint(path, out, pp.Unstructured(0.01), even_if_larger=True)
    assert all(t.packed for t in report.tensors if t.action == "pruned")
    assert_same(dense_of(out), pruned(model, pp.Unstructured(0.01)))


def test_zeros_beyond_the_target_count_towards_packing(tmp_path: Path) -> None:
    w = np.ones((64, 64), np.float32)
    w[:, :32] = 0
    pp.save_file({"w": w}, tmp_path / "in.safetensors")
    report = pp.prune_checkpoint(
        tmp_path / "in.safetensors", tmp_path / "out.safetensors", pp.Unstructured(0.01)
    )
    assert report.tensors[0].packed
    assert report.tensors[0].sparsity == 0.5


def test_pack_finds_the_zeros_that_are_there(tmp_path: Path, model: Tensors) -> None:
    sparse = pruned(model, pp.NM(2, 4), ("head",))
    pp.save_file(sparse, tmp_path / "in.safetensors")
    report = by_name(pp.pack_checkpoint(tmp_path / "in.safetensors", tmp_path / "out.safetensors"))
    assert {name for name, t in report.items() if t.packed} == {"head"}
    assert report["head"].action == "packed"
    assert report["layers.2.weight"].note == "stayed dense: packing would not make it smaller"
    assert_same(dense_of(tmp_path / "out.safetensors"), sparse)

    out = tmp_path / "out.safetensors"
    again = by_name(pp.pack_checkpoint(out, out, in_place=True))
    assert again["head"].note == "packed already"
    assert_same(dense_of(tmp_path / "out.safetensors"), sparse)


def test_pack_even_if_larger_packs_all_weights(tmp_path: Path, path: Path, model: Tensors) -> None:
    out = tmp_path / "out.safetensors"
    report = pp.pack_checkpoint(path, out, even_if_larger=True, min_size=0, min_rank=0)
    assert {t.name for t in report.tensors if t.packed} == {
        name for name in model if name not in ("position_ids", "flags")
    }
    # -0.0 counts as zero, so it comes back as +0.0; all else is as it was.
    expected = model | {"layers.0.bias": np.where(model["layers.0.bias"] == 0, 0, 1)}
    expected["layers.0.bias"] = np.where(
        expected["layers.0.bias"] == 0, np.float32(0), model["layers.0.bias"]
    )
    assert_same(dense_of(out), expected)


def test_unpack_of_a_dense_file_changes_nothing(tmp_path: Path, path: Path, model: Tensors) -> None:
    report = pp.unpack_checkpoint(path, tmp_path / "out.safetensors")
    assert {t.action for t in report.tensors} == {"unchanged"}
    assert_same(dense_of(tmp_path / "out.safetensors"), model)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1,), (1, 1)])
def test_odd_shapes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    w = np.ones(shape, ml_dtypes.bfloat16)
    file, out = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    pp.save_file({"w": w}, file)
    everything: dict[str, Any] = {"min_size": 0, "min_rank": 0, "even_if_larger": True}
    pp.prune_checkpoint(file, out, pp.Unstructured(1.0), **everything)
    assert_same(dense_of(out), {"w": np.zeros(shape, ml_dtypes.bfloat16)})
    pp.inspect_checkpoint(out)


def test_a_file_without_tensors(tmp_path: Path) -> None:
    file = tmp_path / "in.safetensors"
    pp.save_file({}, file)
    report = pp.prune_checkpoint(file, tmp_path / "out.safetensors", pp.NM(3, 4))
    assert report.tensors == ()
    assert report.sparsity == 0.0
    assert pp.inspect_checkpoint(file).sparsity is None


# --- reports ----------------------------------------------------------------------------------


def test_report_adds_up(tmp_path: Path, path: Path, model: Tensors) -> None:
    out = tmp_path / "out.safetensors"
    report = pp.prune_checkpoint(path, out, pp.NM(3, 4))
    assert report.bytes_before == path.stat().st_size
    assert report.bytes_after == out.stat().st_size
    assert sum(t.bytes_before for t in report.tensors) == sum(w.nbytes for w in model.values())
    assert report.rules == "3:4 (75 % sparse)"
    assert {name: t.kept for name, t in by_name(report).items() if t.kept is not None} == {
        name: np.count_nonzero(w)
        for name, w in pruned(model, pp.NM(3, 4)).items()
        if name in WEIGHTS
    }
    head = by_name(report)["head"]
    assert head.model_bytes == (40 * 80 * (32 * 0.25 + 1)) / 8
    assert head.bytes_after == 800 * 4 + 40 * 10 + 40 * 8 + 2 * 8


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_reports_are_json(tmp_path: Path, model: Tensors, suffix: str) -> None:
    path, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    pp.save_file(model, path)
    pruned = json.loads(json.dumps(pp.prune_checkpoint(path, out, pp.NM(3, 4)).to_json()))
    assert pruned["ratio"] == pruned["bytes_before"] / pruned["bytes_after"]
    inspected = json.loads(json.dumps(pp.inspect_checkpoint(out).to_json()))
    assert inspected["nbytes"] == out.stat().st_size
    verified = json.loads(json.dumps(pp.verify_checkpoint(out, pp.NM(3, 4)).to_json()))
    assert verified["ok"] is True


def rewriters() -> dict[str, Callable[..., Any]]:
    return {
        "prune": lambda src, dst, **more: pp.prune_checkpoint(src, dst, pp.Threshold(0.5), **more),
        "pack": pp.pack_checkpoint,
        "unpack": pp.unpack_checkpoint,
        "inspect": lambda src, _, **more: pp.inspect_checkpoint(src, **more),
        "verify": lambda src, _, **more: pp.verify_checkpoint(src, pp.NM(0, 4), **more),
    }


@pytest.mark.parametrize("name", rewriters())
def test_progress_goes_from_nothing_to_everything(tmp_path: Path, path: Path, name: str) -> None:
    seen: list[pp.Progress] = []
    rewriters()[name](path, tmp_path / "out.safetensors", progress=seen.append)
    for done, total in (("tensors", "total_tensors"), ("nbytes", "total_nbytes")):
        counts = [getattr(at, done) for at in seen]
        assert counts[0] == 0
        assert counts == sorted(counts)
        assert {getattr(at, total) for at in seen} == {counts[-1]}
    assert {at.name for at in seen} >= set(WEIGHTS)


# --- failures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError(errno.ENOSPC, "full")])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_leaves_the_target_as_it_was(
    tmp_path: Path, model: Tensors, suffix: str, error: Any
) -> None:
    path, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    pp.save_file(model, path)
    out.write_bytes(b"what was there")

    def fail(at: pp.Progress) -> None:
        if at.nbytes > at.total_nbytes / 2:
            raise error

    with pytest.raises(type(error) if isinstance(error, OSError) else error):
        pp.prune_checkpoint(path, out, pp.NM(3, 4), progress=fail)
    assert out.read_bytes() == b"what was there"
    assert sorted(tmp_path.iterdir()) == sorted([path, out])


def test_paths_are_checked_before_any_work(tmp_path: Path, path: Path) -> None:
    def work(*_: object) -> None:
        pytest.fail("work began")

    (tmp_path / "dir.safetensors").mkdir()
    with pytest.raises(IsADirectoryError, match="is a directory; name the file to write"):
        pp.pack_checkpoint(path, tmp_path / "dir.safetensors", progress=work)
    with pytest.raises(FileNotFoundError, match="no such folder to write to; make it first"):
        pp.pack_checkpoint(path, tmp_path / "nowhere" / "out.safetensors", progress=work)
    with pytest.raises(ValueError, match=r"^path must end in \.safetensors"):
        pp.pack_checkpoint(path, tmp_path / "out.bin", progress=work)


PEAK = """
import resource, sys
import prunepack as pp
pp.prune_checkpoint(sys.argv[1], sys.argv[2], pp.Threshold(0.5))
pp.unpack_checkpoint(sys.argv[2], sys.argv[1])
pp.inspect_checkpoint(sys.argv[1])
pp.verify_checkpoint(sys.argv[1], pp.NM(0, 4))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    w = np.random.default_rng(1).standard_normal((512, 1024)).astype(np.float32)
    peaks = []
    for tensors in (2, 40):
        path, out = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
        pp.save_file({f"layer.{i}.weight": w for i in range(tensors)}, path)
        words = [sys.executable, "-c", PEAK, str(path), str(out)]
        peaks.append(int(subprocess.run(words, check=True, capture_output=True).stdout))
    assert peaks[1] - peaks[0] < 4 * w.nbytes, "38 tensors more, and none of them stays"


# --- looking ----------------------------------------------------------------------------------


def test_inspect_tells_what_is_there(tmp_path: Path, path: Path) -> None:
    pp.prune_checkpoint(path, tmp_path / "out.safetensors", pp.NM(3, 4))
    report = pp.inspect_checkpoint(tmp_path / "out.safetensors")
    head, ids = by_name(report)["head"], by_name(report)["position_ids"]
    assert (head.shape, head.dtype, head.packed) == ((40, 80), "F32", True)
    assert (head.sparsity, head.pattern) == (0.75, "3:4")
    assert (head.nbytes, head.dense_nbytes) == (3936, 12800)
    assert (ids.sparsity, ids.pattern, ids.ratio) == (None, None, 1.0)
    assert report.nbytes == (tmp_path / "out.safetensors").stat().st_size


def test_verify_names_what_is_broken(tmp_path: Path, path: Path) -> None:
    out = tmp_path / "out.safetensors"
    pp.prune_checkpoint(path, out, pp.NM(3, 4), exclude=["head"])
    assert pp.verify_checkpoint(out, pp.NM(3, 4), exclude=["head"]).ok
    report = pp.verify_checkpoint(out, pp.NM(3, 4))
    assert not report.ok
    broken = [t for t in report.tensors if not t.ok]
    assert [(t.name, t.broken, t.first) for t in broken] == [("head", 800, (0, 0))]


def test_verify_of_nothing_is_an_error(path: Path) -> None:
    with pytest.raises(ValueError, match=r"none of the 9 tensors is a weight to verify$"):
        pp.verify_checkpoint(path, pp.NM(3, 4), min_size=10**6)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (pp.NM(1, 2), "1:2"),
        (pp.NM(2, 4), "2:4"),
        (pp.NM(3, 4), "3:4"),
        (pp.NM(1, 4), "1:4"),
        (pp.NM(3, 8), "3:8"),
        (pp.NM(7, 8), "7:8"),
        (pp.NM(14, 16), "14:16"),
        (pp.Block((4, 1), 0.5), "block 4x1"),
        (pp.Block((16, 1), 0.5), "block 16x1"),
        (pp.Block((1, 4), 0.5), "block 1x4"),
        (pp.Block((1, 16), 0.5), "block 1x16"),
        (pp.Block((4, 1), 0.95), "block 4x1"),
        (pp.Unstructured(0.5), "unstructured"),
        (pp.Unstructured(0.02), "unstructured"),
        (pp.Unstructured(0.99), "unstructured"),
        (pp.Unstructured(0.0), "dense"),
        (pp.Unstructured(1.0), "all zero"),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(130, 210), (400, 32), (40, 48, 3, 3)])
def test_pattern_found_is_the_pattern_pruned_with(
    shape: tuple[int, ...], pattern: pp.Pattern, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(11).standard_normal(shape).astype(np.float32)
    mask = pp.prune_mask(random, pattern)
    assert find_structure(mask.bits, shape).pattern == name
    monkeypatch.setattr("prunepack._checkpoint._structure.CHUNK_BYTES", 1)
    assert find_structure(mask.bits, shape).pattern == name


@pytest.mark.parametrize(
    ("kept", "name"),
    [
        (np.ones(()), "dense"),
        (np.zeros(()), "all zero"),
        (np.ones((3, 0)), "dense"),
        (np.ones((0, 3)), "dense"),
        (np.array([1, 0, 1, 0]), "1:2"),
        (np.array([[1, 0, 0]]), "unstructured"),
    ],
)
def test_pattern_of_very_small_tensors(kept: Any, name: str) -> None:
    mask = reference.mask_bytes(kept.astype(bool))
    assert find_structure(mask, kept.shape).pattern == name


def test_rows_of_nothing_cost_nothing(tmp_path: Path) -> None:
    """A file of a hundred bytes may claim 2**40 of them; nobody may need 8 bytes for each."""
    source, out = tmp_path / "claims.safetensors", tmp_path / "out.safetensors"
    entry = {"dtype": "F32", "shape": [2**40, 0], "data_offsets": [0, 0]}
    header = json.dumps({"a.weight": entry}).encode()
    source.write_bytes(len(header).to_bytes(8, "little") + header)
    rules = [pp.Rule(pp.NM(2, 4), name="*")]
    pp.inspect_checkpoint(source)
    for threads in (1, 2):
        report = pp.prune_checkpoint(source, out, rules, min_size=0, num_threads=threads)
        assert [t.note for t in report.tensors] == ["no elements"]
        assert pp.load_file(out)["a.weight"].shape == (2**40, 0)
    pp.pack_checkpoint(source, out, min_size=0, even_if_larger=True)
    pp.unpack_checkpoint(source, out)
    for masks in (pp.mask_checkpoint, pp.prune_checkpoint):
        with pytest.raises(
            ValueError, match="matches only tensors that are left alone: no elements"
        ):
            masks(source, out, pp.NM(2, 4), include=["a*"], min_size=0)
