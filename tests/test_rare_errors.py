"""What goes wrong only where something unusual happens, and what is seldom asked for.

A producer that refuses at the last moment, a system that lacks a call, a file that gets shorter while
it is read: each is brought about here, and the answer is checked word for word.
"""

from __future__ import annotations

import ctypes
import errno
import io
import json
import os
import re
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import prunepack as pp
from folders import contents, write_folder
from prunepack import _atomic, _demo, _leftovers, _strict_json, _text
from prunepack._bench import _machine, run_bench
from prunepack._cli import main
from prunepack._file_reader import open_file
from prunepack._regular import open_regular
from prunepack._safetensors import SafetensorsFile
from prunepack._source import open_checkpoint


class Producer:
    """A tensor that refuses to be shared, or says an odd thing about itself."""

    def __init__(self, device: Any, error: Exception | None = None) -> None:
        self._device, self._error = device, error

    def __dlpack_device__(self) -> Any:
        return self._device

    def __dlpack__(self, **_: Any) -> Any:
        assert self._error is not None
        raise self._error


@pytest.mark.parametrize(
    "error", [BufferError("in use elsewhere"), RuntimeError("in use elsewhere")]
)
def test_producer_that_refuses(error: Exception) -> None:
    with pytest.raises(ValueError, match="w cannot be shared through DLPack: in use elsewhere"):
        pp.prune(Producer((1, 0), error), pp.NM(2, 4))


# --- files ------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "model.safetensors"
    pp.save_file({"x.weight": np.arange(64, dtype=np.float32).reshape(8, 8)}, made)
    return made


def test_header_that_is_cut_short_while_it_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = path.stat().st_size
    real = os.fstat

    def before_it_was_cut(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        found[6] = size
        return os.stat_result(found)

    os.truncate(path, 20)
    monkeypatch.setattr(os, "fstat", before_it_was_cut)
    with pytest.raises(
        pp.FormatError, match=r"header ends after 12 of \d+ bytes; the file was cut"
    ):
        SafetensorsFile(path)


def test_more_bytes_than_the_shape_needs(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    header = b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(pp.FormatError, match=r"span 8 bytes but shape \[1\] of F32 needs 4"):
        SafetensorsFile(path)


def test_members_of_an_archive_that_share_their_bytes(tmp_path: Path) -> None:
    """A thousand names for the same bytes would make much of a small file."""
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros(1000, np.float32))
    octets = path.read_bytes()
    directory, end = octets.index(b"PK\1\2"), octets.index(b"PK\5\6")
    entries = b"".join(
        octets[directory:end].replace(b"a.npy", f"{name}.npy".encode()) for name in "abc"
    )
    trailer = bytearray(octets[end:])
    trailer[8:12] = (3).to_bytes(2, "little") * 2
    trailer[12:16] = len(entries).to_bytes(4, "little")
    path.write_bytes(octets[:directory] + entries + trailer)
    with pytest.raises(pp.FormatError, match=r"members must fit in the file, they claim 12384 of"):
        pp.load_file(path)


def test_npy_that_is_cut_short_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros(100_000, np.float32))  # more than is read at once
    with open_file(path) as file:
        os.truncate(path, path.stat().st_size - 3)
        with pytest.raises(pp.FormatError, match="array ends 3 bytes early"):
            file.read("x")
        with pytest.raises(ValueError, match="holds no tensor 'y'"):
            file.info("y")


def test_npy_with_more_dimensions_than_numpy_has(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    header = repr({"descr": "<f4", "fortran_order": False, "shape": (1,) * 65})
    text = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text + bytes(4))
    with pytest.raises(pp.FormatError, match="NumPy cannot hold 65 dimensions"):
        pp.load_file(path)


def test_manifest_of_an_archive_that_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npz"
    pp.save_file({"x": np.zeros(3, np.float32)}, path, metadata={"a": "b"})
    monkeypatch.setattr("prunepack._npz._MANIFEST_LIMIT", 10)
    with pytest.raises(
        pp.FormatError, match=r"prunepack.json: must have at most 10 bytes, it has \d+"
    ):
        pp.load_file(path)


def test_archive_that_points_before_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.npz"
    pp.save_file({"x": np.zeros(3, np.float32)}, path)

    def seek(*_: Any) -> Any:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(zipfile.ZipFile, "open", seek)
    with pytest.raises(
        pp.FormatError, match="must be a sound zip archive: it points outside itself"
    ):
        pp.load_file(path)


def test_disk_that_fails_under_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.npz"
    pp.save_file({"x": np.zeros(3, np.float32)}, path)

    def fail(*_: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(zipfile.ZipFile, "open", fail)
    with pytest.raises(OSError, match="Input/output error"):
        pp.load_file(path)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(ValueError, match="must be a regular file, it is a device"):
        open_regular("/dev/null")


def test_packed_tensor_in_two_files(tmp_path: Path) -> None:
    packed = pp.pack(np.eye(64, dtype=np.float32))
    folder = write_folder(tmp_path / "model", {"a.weight": packed, "b.weight": packed})  # type: ignore[dict-item]
    for shard in folder.glob("*.safetensors"):
        octets = shard.read_bytes()
        length = int.from_bytes(octets[:8], "little")
        header = json.loads(octets[8 : 8 + length])
        described = json.loads(header["__metadata__"]["prunepack"])
        described["packed"]["a.weight"] = {"prefix": "a", "pattern": None}
        header["__metadata__"]["prunepack"] = json.dumps(described)
        text = json.dumps(header).encode()
        shard.write_bytes(len(text).to_bytes(8, "little") + text + octets[8 + length :])
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shards = sorted(set(index["weight_map"].values()))
    index["weight_map"] = {
        f"{name}.{part}": shard
        for name, shard in zip("ab", shards, strict=True)
        for part in ("bitmask", "compressed", "shape", "row_offsets")
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(
        pp.FormatError, match=r"packed tensor 'a\.weight' must be in one file, it is in"
    ):
        pp.inspect_checkpoint(folder)


def test_folder_with_two_indexes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    index = folder / "model.safetensors.index.json"
    (folder / "other.safetensors.index.json").write_bytes(index.read_bytes())
    pp.inspect_checkpoint(folder)  # the one with the usual name is meant
    index.rename(folder / "another.safetensors.index.json")
    with pytest.raises(pp.FormatError, match=r"must have one index, it has another.*, other"):
        pp.inspect_checkpoint(folder)


def test_checkpoint_as_a_mapping(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    with open_checkpoint(folder) as source:
        assert len(source) == len(tuple(source)) == 8
        assert "lm_head.weight" in source
        assert "lm_head" not in source
        with pytest.raises(ValueError, match="holds no tensor 'lm_head'"):
            source.info("lm_head")


def test_json_that_nests_too_deeply_to_be_turned() -> None:
    tree: Any = "end"
    for _ in range(sys.getrecursionlimit()):
        tree = [tree]
    with pytest.raises(pp.FormatError, match="here: must nest a few levels, nests too deeply"):
        _strict_json.plain(tree, "here")


# --- replacing --------------------------------------------------------------------------------


def without_exchange(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Let the system be one that cannot let two folders trade places."""
    if how == "another system":
        monkeypatch.setattr(sys, "platform", "darwin")
        return

    class Refuses:
        def __call__(self, *_: Any) -> int:
            ctypes.set_errno(errno.EINVAL)
            return -1

    library = SimpleNamespace(renameat2=Refuses()) if how == "refused" else SimpleNamespace()
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: library)


@pytest.mark.parametrize("how", ["another system", "an older library", "refused"])
def test_folder_where_two_cannot_trade_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("old")
    without_exchange(monkeypatch, how)
    with _atomic.replacing_folder(target) as new:
        (new / "new").write_text("new")
    assert contents(tmp_path) == {"folder/new": b"new"}


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "folder"
    with pytest.raises(FileNotFoundError) as caught, _atomic.replacing_folder(nowhere):
        pytest.fail("began")
    assert caught.value.filename == str(nowhere)


@pytest.mark.parametrize("replacing", [_atomic.replacing, _atomic.replacing_folder])
def test_temporary_that_another_took_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replacing: Any
) -> None:
    """Between being made and being locked it may be removed: then there is another one."""
    locks = []

    def lock(descriptor: int, *, without_locks: bool) -> bool:
        locks.append(descriptor)
        return len(locks) > 1 and _leftovers.lock(descriptor, without_locks=without_locks)

    monkeypatch.setattr(_atomic, "lock", lock)
    with replacing(tmp_path / "x"):
        pass
    assert len(locks) == 2


def test_leftover_that_cannot_be_opened(tmp_path: Path) -> None:
    left = tmp_path / ".x.prunepack-0123456789abcdef.tmp"
    left.symlink_to(tmp_path / "gone")
    with _atomic.replacing(tmp_path / "x") as file:
        file.write(b"x")
    assert left.is_symlink()


def test_hidden_files_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "model")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref")
    (folder / ".git" / "link").symlink_to("HEAD")

    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    pp.prune_checkpoint(folder, folder, pp.NM(2, 4), in_place=True)
    assert (folder / ".git" / "HEAD").read_text() == "ref"
    assert (folder / ".git" / "link").readlink() == Path("HEAD")
    os.mkfifo(folder / ".git" / "pipe")
    with pytest.raises(ValueError, match=r"\.git/pipe: must be a regular file, it is a pipe$"):
        pp.prune_checkpoint(folder, folder, pp.NM(2, 4), in_place=True)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_files_are_on_the_disk_before_they_take_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash after the rename must find the new content, and the rename itself must last."""
    done: list[tuple[str, str]] = []
    fsync, replace, exchange = os.fsync, Path.replace, _atomic._exchange

    def told_fsync(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        done.append(("sync", "temporary" if name.startswith(".") else name))
        fsync(descriptor)

    def told_replace(one: Path, other: Path) -> Path:
        done.append(("rename", other.name))
        return replace(one, other)

    def told_exchange(one: Path, other: Path) -> bool:
        done.append(("rename", other.name))
        return exchange(one, other)

    monkeypatch.setattr(os, "fsync", told_fsync)
    monkeypatch.setattr(Path, "replace", told_replace)
    monkeypatch.setattr(_atomic, "_exchange", told_exchange)
    with _atomic.replacing(tmp_path / "file") as file:
        file.write(b"new")
    assert done == [("sync", "temporary"), ("rename", "file"), ("sync", tmp_path.name)]

    (tmp_path / "folder").mkdir()
    done.clear()
    with _atomic.replacing_folder(tmp_path / "folder") as folder:
        (folder / "part").write_bytes(b"new")
    synced = done.index(("rename", "folder"))
    assert set(done[:synced]) == {("sync", "part"), ("sync", "temporary")}
    assert done[synced + 1 :] == [("sync", tmp_path.name)]


def test_files_of_a_new_folder_are_synced_before_the_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong behind the caller's back is told."""

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with (
        pytest.raises(OSError, match="Input/output error"),
        _atomic.creating_files() as creating,
        creating(tmp_path / "x") as file,
    ):
        file.write(b"x")


# --- the command ------------------------------------------------------------------------------


def test_not_enough_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("prunepack._cli._commands.inspect_checkpoint", fail)
    assert main(["inspect", str(path)]) == 1
    assert capsys.readouterr().err == "prunepack: not enough memory for the largest tensor\n"


def test_main_in_another_thread(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the main thread may handle signals; the command runs all the same."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(main(["inspect", str(path), "--json"])))
    thread.start()
    thread.join()
    assert found == [0]
    assert json.loads(capsys.readouterr().out)["tensors"]


def test_streams_of_another_kind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that calls main may have put anything with a write method in their place."""

    class Plain(io.StringIO):
        reconfigure = property()  # there is none

    monkeypatch.setattr(sys, "stdout", Plain())
    assert main(["inspect", str(path), "--quiet"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("prune IN OUT --threshold much", "must be a number that is not negative, got 'much'"),
        ("prune IN OUT --threshold -1", "must be a number that is not negative, got '-1'"),
    ],
)
def test_thresholds(
    path: Path, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(path) if word == "IN" else word for word in words.split()]
    assert main(given) == 2
    assert message in capsys.readouterr().err


def test_quiet_commands(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    masks, page = str(tmp_path / "masks.safetensors"), str(tmp_path / "page.html")
    options = ["--min-size", "1", "--quiet"]
    assert main(["mask", str(path), masks, "--nm", "2:4", *options]) == 0
    assert main(["inspect", str(path), "--quiet"]) == 0
    assert main(["report", str(path), page, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_notes_of_masks_are_shown(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = str(tmp_path / "masks.safetensors")
    words = ["mask", str(path), masks, "--nm", "2:4", "--min-size", "1", "--exclude", "nothing"]
    assert main(words) == 0
    assert "note: exclude 'nothing' matches no tensor" in capsys.readouterr().out


# --- small things -----------------------------------------------------------------------------


def test_progress_of_the_demo_and_of_measurements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_demo, "WAYS", _demo.WAYS[3:4])
    monkeypatch.setattr(_demo, "VOCABULARY", 64)
    told: list[Any] = []
    _demo.run_demo(tmp_path, progress=told.append)
    assert [(each.name, each.tensors) for each in told] == [("3:4", 0)]
    told.clear()
    run_bench(
        [(8, 8)], patterns={}, seconds=0, num_threads=1, progress=lambda *what: told.append(what)
    )
    assert [name for name, _, _ in told] == ["8x8 dense"]


def test_processor_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)
    assert _machine._processor()


def test_targets(path: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="dst must be the file or folder to write, got None"):
        pp.prune_checkpoint(path, None, pp.NM(2, 4))
    with pytest.raises(ValueError, match="max_shard_size must be at least 1, got 0"):
        pp.prune_checkpoint(path, tmp_path / "out", pp.NM(2, 4), max_shard_size=0)
    with pytest.raises(
        NotADirectoryError, match="is a file; name the folder to write the shards to"
    ):
        pp.prune_checkpoint(path, path, pp.NM(2, 4), in_place=True, max_shard_size=1000)


@pytest.mark.parametrize(
    ("storage", "shape", "name", "note"),
    [
        ("sparse-bitmask", (64, 64), "x", "packs only tensors whose names end in .weight"),
        ("sparse-24-bitmask", (64, 66), "x.weight", "packs only matrices with columns in groups"),
        ("sparse-24-bitmask", (8, 8, 64), "x.weight", "packs only matrices with columns in groups"),
    ],
)
def test_what_foreign_formats_cannot_hold(
    tmp_path: Path, storage: Any, shape: tuple[int, ...], name: str, note: str
) -> None:
    fits = {"fits.weight": np.ones((64, 64), np.float32)}
    folder = write_folder(tmp_path / "model", {name: np.ones(shape, np.float32), **fits})
    report = pp.prune_checkpoint(folder, tmp_path / "out", pp.NM(2, 4), format=storage)
    (tensor,) = (each for each in report.tensors if each.name == name)
    assert tensor.action == "pruned"
    assert tensor.note is not None
    assert note in tensor.note


def test_rules_in_words() -> None:
    rule = pp.Rule("skip", regex="norm$")
    assert repr(rule) == "Rule(then='skip', regex='norm$')"
    assert str(rule) == "/norm$/"
    assert str(pp.Rule("skip", min_rank=3)) == "min_rank 3"
    assert str(pp.Rule("skip")) == "every tensor"
    assert str(pp.Rules([rule, rule], pp.NM(2, 4))) == "2 rules, otherwise 2:4 (50 % sparse)"
    assert str(pp.Rules([rule])) == "1 rule"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.41e-6, "3.41 us"), (0.0121, "12.1 ms"), (0.9994, "999 ms"), (3.0, "3.00 s")],
)
def test_short_times(seconds: float, text: str) -> None:
    assert re.fullmatch(
        re.escape(text).replace(r"3\.00", r"3\.\d+"), _text.in_short_seconds(seconds)
    )


def test_a_model_whose_weights_are_all_zero() -> None:
    masks = pp.prune_masks({"x": np.zeros(8, np.float32)}, pp.Unstructured(0, "model"))
    assert masks["x"].kept == 8


@pytest.mark.parametrize(
    ("bound", "sparsity", "counts"),
    [
        ("min_sparsity", 0.6, "4 of 6 weights, .* comes to 6"),
        ("max_sparsity", 0.4, "2 of 6 .* to 0"),
    ],
)
def test_bounds_that_rounding_makes_impossible(bound: str, sparsity: float, counts: str) -> None:
    pattern = pp.Unstructured(sparsity, "model", **{bound: sparsity})  # type: ignore[arg-type]
    tensors = {str(i): np.ones(1, np.float32) for i in range(6)}
    with pytest.raises(ValueError, match=f"{bound} must leave a way to prune {counts}"):
        pp.prune_masks(tensors, pattern)
