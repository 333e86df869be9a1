"""What is at the target when something goes wrong, and what becomes of what is left behind.

In scope: files and folders that are replaced, killed processes, leftovers and their locks.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import prunepack as pp
from folders import LINEARS, contents, tensors_of, transformer, write_folder
from models import pruned
from prunepack import _atomic, _leftovers
from prunepack._atomic import replacing, replacing_folder
from prunepack._leftovers import is_leftover_name, name_beside
from samples import same_bits

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


@pytest.fixture
def old(target: Path) -> dict[str, bytes]:
    """Put a checkpoint at the target."""
    write_folder(target, {"old.weight": np.ones((64, 64), np.float32)}, ("old.safetensors",))
    return contents(target)


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if is_leftover_name(path.name)]


# --- folders ----------------------------------------------------------------------------------


def fill(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "b").write_text("new")


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_folder_takes_its_place(
    target: Path, there: bool, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:  # as where the system cannot do it
        monkeypatch.setattr(_atomic, "_exchange", lambda *_: False)
    if there:
        target.mkdir(mode=0o700)
        (target / "old").write_text("old")
    with replacing_folder(target) as folder:
        fill(folder)
        assert (target / "old").exists() == there
    assert contents(target) == {"a/b": b"new"}
    if there:
        assert target.stat().st_mode & 0o777 == 0o700
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("seen", [True, False])
def test_what_another_run_does_meanwhile(
    target: Path, seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It puts a folder where none was, or takes one away, right after we have looked."""
    if not seen:
        target.mkdir()
        (target / "old").write_text("another run's")
    lexists = os.path.lexists
    answers = [seen]
    monkeypatch.setattr(
        os.path, "lexists", lambda path: answers.pop() if answers else lexists(path)
    )
    with replacing_folder(target) as folder:
        fill(folder)
    assert contents(target) == {"a/b": b"new"}
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOSPC, "full")])
def test_error_leaves_the_old_folder(target: Path, error: Any) -> None:
    target.mkdir()
    (target / "old").write_text("old")

    def fail() -> None:
        with replacing_folder(target) as folder:
            fill(folder)
            raise error

    with pytest.raises(type(error) if isinstance(error, OSError) else error):
        fail()
    assert contents(target) == {"old": b"old"}
    assert list(target.parent.iterdir()) == [target]


def test_exchange_is_one_step(target: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux lets two folders trade places")
    target.mkdir()
    other = target.with_name("other")
    other.mkdir()
    (other / "x").write_text("x")
    assert _atomic._exchange(other, target)
    assert contents(target) == {"x": b"x"}
    with pytest.raises(FileNotFoundError):
        _atomic._exchange(target.with_name("gone"), target)


# --- leftovers --------------------------------------------------------------------------------


def writers() -> dict[str, Callable[[Path], Any]]:
    return {"file": replacing, "folder": replacing_folder}


@pytest.mark.parametrize("kind", writers())
def test_dead_leftovers_are_removed_and_named(
    target: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    dead = [name_beside(target), name_beside(target)]
    dead[0].write_text("half a file")
    dead[1].mkdir()
    (dead[1] / "x").write_text("half a folder")
    others = [name_beside(target.with_name("another")), target.with_name(".target.prunepack-x.tmp")]
    for path in others:
        path.write_text("not ours")
    with writers()[kind](target):
        pass
    assert {path.name for path in target.parent.iterdir()} == {
        target.name,
        *(path.name for path in others),
    }
    assert sorted(record.getMessage() for record in caplog.records) == sorted(
        f"removed {path}, which an interrupted run had left" for path in dead
    )


@pytest.mark.parametrize("kind", writers())
def test_what_a_living_process_writes_is_not_touched(target: Path, kind: str) -> None:
    write = writers()[kind]
    with write(target):
        (ours,) = leftovers(target.parent)
        with write(target):
            assert ours.exists()
            assert len(leftovers(target.parent)) == 2
        assert ours.exists()
    assert leftovers(target.parent) == []


@pytest.mark.parametrize("kind", writers())
def test_what_is_not_locked_yet_is_not_lost(
    target: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run finds a new one without a lock, which its maker takes while that looks at it."""
    taken = []

    def remove(path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        taken.append(_leftovers.lock(descriptor, without_locks=True))
        os.close(descriptor)

    unlocked = name_beside(target)
    if kind == "file":
        unlocked.write_bytes(b"")
    else:
        unlocked.mkdir()
    monkeypatch.setattr(_leftovers, "remove", remove)
    _leftovers.remove_leftovers(target)
    assert taken == [False]


def test_what_was_set_aside_is_put_back(target: Path, caplog: pytest.LogCaptureFixture) -> None:
    # Where folders cannot trade places, a process may be killed between two renames.
    aside = name_beside(target, "old")
    aside.mkdir()
    (aside / "old").write_text("old")
    name_beside(target).mkdir()

    def fail() -> None:
        with replacing_folder(target):
            assert contents(target) == {"old": b"old"}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert contents(target) == {"old": b"old"}
    assert list(target.parent.iterdir()) == [target]
    assert any("put" in record.getMessage() for record in caplog.records)


def test_without_locks_nothing_is_removed(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    unknown = name_beside(target)
    unknown.write_text("whose is it")
    with replacing(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"
    assert unknown.exists()


def test_leftovers_do_not_go_along(tmp_path: Path) -> None:
    model = write_folder(tmp_path / "model")
    name_beside(model / "config.json").write_text("half")
    pp.prune_checkpoint(model, tmp_path / "out", pp.NM(2, 4))
    assert leftovers(tmp_path / "out") == []


# --- whole checkpoints ------------------------------------------------------------------------

SLOWLY = """
import sys, time
import prunepack as pp
from prunepack._checkpoint import _jobs

def slow(make):
    def made(*words):
        time.sleep(0.05)
        return make(*words)
    return made

_jobs.Prune.make = slow(_jobs.Prune.make)
pp.prune_checkpoint(sys.argv[1], sys.argv[2], pp.NM(2, 4), num_threads=1)
"""


def start(source: Path, target: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", SLOWLY, str(source), str(target)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE)
    limit = time.monotonic() + 30
    while not any(contents(path) for path in leftovers(target.parent) if path.is_dir()):
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.002)
    return process


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_run_again(
    tmp_path: Path, target: Path, old: dict[str, bytes], number: signal.Signals
) -> None:
    source = write_folder(tmp_path / "model")
    with start(source, target) as process:
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode != 0
    assert contents(target) == old
    assert len(leftovers(tmp_path)) == (1 if number == signal.SIGKILL else 0)
    pp.prune_checkpoint(source, target, pp.NM(2, 4))
    wanted = pruned(transformer(), pp.NM(2, 4), LINEARS)
    actual = tensors_of(target)
    assert all(same_bits(actual[name], wanted[name]) for name in wanted)
    assert leftovers(tmp_path) == []


def test_two_at_once(tmp_path: Path, target: Path) -> None:
    source = write_folder(tmp_path / "model")
    with start(source, target) as process:
        pp.prune_checkpoint(source, target, pp.NM(3, 4))
        assert pp.verify_checkpoint(target, pp.NM(3, 4)).ok
        process.communicate(timeout=30)
    assert process.returncode == 0
    wanted = pruned(transformer(), pp.NM(2, 4), LINEARS)
    actual = tensors_of(target)
    assert all(same_bits(actual[name], wanted[name]) for name in wanted)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError(errno.ENOSPC, "full")])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_failure_leaves_the_old_checkpoint(
    tmp_path: Path, target: Path, old: dict[str, bytes], error: Any, threads: int
) -> None:
    source = write_folder(tmp_path / "model")

    def fail(at: pp.Progress) -> None:
        if at.tensors == 5:
            raise error

    with pytest.raises(type(error) if isinstance(error, OSError) else error):
        pp.prune_checkpoint(source, target, pp.NM(2, 4), progress=fail, num_threads=threads)
    assert contents(target) == old
    assert {path.name for path in tmp_path.iterdir()} == {"model", "target"}


def test_in_place_until_the_end(tmp_path: Path) -> None:
    model = write_folder(tmp_path / "model")
    before = contents(model)

    def fail(at: pp.Progress) -> None:
        assert contents(model) == before
        if at.tensors == at.total_tensors:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pp.prune_checkpoint(model, model, pp.NM(2, 4), in_place=True, progress=fail)
    assert contents(model) == before
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("threads", [1, 2])
def test_source_that_vanishes_while_it_is_read(tmp_path: Path, target: Path, threads: int) -> None:
    source = write_folder(tmp_path / "model")

    def vanish(at: pp.Progress) -> None:
        if at.tensors == 3:
            for path in source.glob("*.safetensors"):
                path.unlink()

    # What is mapped stays readable; what goes along is read last.
    pp.prune_checkpoint(source, target, pp.NM(2, 4), progress=vanish, num_threads=threads)
    assert pp.verify_checkpoint(target, pp.NM(2, 4)).ok

    (tmp_path / "more").mkdir()
    another = write_folder(tmp_path / "more" / "model")

    def vanish_all(at: pp.Progress) -> None:
        if at.tensors == 3:
            for name in contents(another):
                (another / name).unlink()

    before = contents(target)
    with pytest.raises(FileNotFoundError):
        pp.prune_checkpoint(another, target, pp.NM(3, 4), progress=vanish_all)
    assert contents(target) == before
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "model")
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(PermissionError):
        pp.prune_checkpoint(source, tmp_path / "locked" / "out", pp.NM(2, 4))


# --- Ctrl-C at any line -----------------------------------------------------------------------


def interrupted(work: Callable[[], None], at: int) -> bool:
    """Do `work`, interrupted before the line of prunepack's that comes `at`-th; tell whether it was."""
    lines, before = 0, sys.gettrace()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if "prunepack" in frame.f_code.co_filename and event == "line":
            lines += 1
            if lines == at:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_interrupted_at_any_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "target"
    content = path if kind == "file" else path / "content"
    content.parent.mkdir(exist_ok=True)
    content.write_bytes(b"old")

    def write() -> None:
        if kind == "file":
            with replacing(path) as file:
                file.write(b"new")
        else:
            with replacing_folder(path) as folder:
                (folder / "content").write_bytes(b"new")

    at = 1
    while interrupted(write, at):
        assert content.read_bytes() in (b"old", b"new")
        assert list(tmp_path.iterdir()) == [path], f"line {at} leaves something behind"
        at += 1
    assert content.read_bytes() == b"new"
    assert at > 30  # it was interrupted
