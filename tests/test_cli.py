"""The command: what it prints where, and with which exit status.

In scope: words to calls, reports to text and JSON, errors to one line. What the calls do
to files is tested in test_checkpoint.py.
"""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import select
import signal
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import prunepack as pp
from models import dense_of, pruned, small_model
from prunepack import _demo
from prunepack._cli import main
from prunepack._text import broken_at_dots, in_bytes, in_seconds, in_weights, times
from samples import same_bits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prunepack import Pattern

COMMAND = (sys.executable, "-m", "prunepack")

# What each kind of bad input is told. `small.safetensors` is a sound file of 9 tensors.
BAD_INPUT = {
    "truncated.safetensors": (
        "truncated.safetensors: tensor 'position_ids': ends at 32768"
        " but the file has only 3000 bytes of data"
    ),
    "magic.safetensors": (
        "magic.safetensors: header length must fit in the file,"
        " 67324752 is more than the 4096 bytes left"
    ),
    "short.safetensors": (
        "short.safetensors: file must begin with an 8-byte header length, it has 3 bytes"
    ),
    "bomb.safetensors": "bomb.safetensors: header: must nest a few levels, nests too deeply",
    "text.safetensors": (
        "text.safetensors: header length must be at most 100000000, got 8367736964726416744"
    ),
    "text.npz": "text.npz: must be a sound zip archive: File is not a zip file",
    "text.txt": "path must end in .safetensors, .npz, .npy, got 'text.txt'",
    "directory": (
        "directory: must hold model.safetensors or model.safetensors.index.json,"
        " it holds no .safetensors file"
    ),
    "directory.safetensors": (
        "directory.safetensors: must hold model.safetensors or model.safetensors.index.json,"
        " it holds no .safetensors file"
    ),
    "missing.safetensors": "missing.safetensors: no such file or directory",
}

BAD_WORDS = {
    "": "name a command, such as prune, inspect or demo (see prunepack --help)",
    "prune": "the following arguments are required: IN",
    "prune IN --nm 3:4": "name OUT, the file or folder to write, or say --in-place or --dry-run",
    "prune IN OUT --nm 3:4 --in-place": (
        "--in-place writes to IN, so OUT must be left out, got out.safetensors"
    ),
    "prune IN OUT --nm 3:4 --target-size 1MB": (
        "3:4 (75 % sparse) cannot be given together with --target-size, which says what to prune"
    ),
    "prune IN OUT --target-size much": (
        "--target-size must be a size such as 3GB, 512MiB or 1000000, got 'much'"
    ),
    "prune IN OUT": (
        "name what to prune: --sparsity, --nm, --threshold, --block with --sparsity, or --rules"
    ),
    "prune IN OUT --sparsity nan": (
        "--sparsity must be from 0 to 1, or a percentage such as 75%, got nan"
    ),
    "prune IN OUT --sparsity 75": (
        "--sparsity must be from 0 to 1, or a percentage such as 75%, got 75"
    ),
    "prune IN OUT --sparsity much": (
        "--sparsity must be a number from 0 to 1, or a percentage such as 75%, got 'much'"
    ),
    "prune IN OUT --sparsity 75%%": (
        "--sparsity must be a number from 0 to 1, or a percentage such as 75%, got '75%%'"
    ),
    "prune IN OUT --nm 5:4": (
        "n counts the zeros of every m weights, so it must be from 0 to 4, got 5"
    ),
    "prune IN OUT --nm 0:0": "m must be at least 1, got 0",
    "prune IN OUT --nm 3": "--nm must be N:M, with N zeros in every M weights, such as 3:4, got '3'",
    "prune IN OUT --nm 3:4 --sparsity 0.75": (
        "--sparsity and --nm cannot be given together; each is a pattern of its own"
    ),
    "prune IN OUT --nm 3:4 --threshold 1": (
        "--nm and --threshold cannot be given together; each is a pattern of its own"
    ),
    "prune IN OUT --nm 3:4 --scope row": "--scope goes with --sparsity alone, not with --nm",
    "prune IN OUT --block 4x1 --sparsity 0.5 --scope row": (
        "--scope goes with --sparsity alone, not with --block"
    ),
    "prune IN OUT --sparsity 0.5 --norm l1": "--norm goes with --block, which was not given",
    "prune IN OUT --sparsity 0.5 --axis 0": "--axis goes with --nm, which was not given",
    "prune IN OUT --block 4x1": "--block needs --sparsity, the share of its tiles to prune",
    "prune IN OUT --block 4x0 --sparsity 0.5": (
        "--block must be the sides of a tile, such as 4x1, or 1x* for a row, got '4x0'"
    ),
    "prune IN OUT --threshold -1": "--threshold must be a number that is not negative, got '-1'",
    "prune IN OUT --threshold nan": "--threshold must be a number that is not negative, got 'nan'",
    "prune IN OUT --nm 3:4 --num-threads 0": (
        "--num-threads must be an integer that is at least 1, got '0'"
    ),
    "prune IN OUT --nm 3:4 --num-threads 2000": "--num-threads must be at most 1024, got '2000'",
    "prune IN OUT --nm 3:4 --min-size few": (
        "--min-size must be an integer that is at least 0, got 'few'"
    ),
    "prune IN OUT --nm 3:4 --spars 1": "unrecognized arguments: --spars 1",
    "verify IN": "name what to prune: --sparsity, --nm, --threshold, --block with --sparsity, or --rules",
}

PATTERNS: dict[str, Pattern] = {
    "--sparsity 0.75": pp.Unstructured(0.75),
    "--sparsity 75%": pp.Unstructured(0.75),
    "--sparsity 0.75 --scope row": pp.Unstructured(0.75, scope="row"),
    "--nm 3:4": pp.NM(3, 4),
    "--nm 3:4 --axis 0": pp.NM(3, 4, axis=0),
    "--block 4x1 --sparsity 0.5": pp.Block((4, 1), 0.5),
    "--block 4 --sparsity 0.5 --norm l1": pp.Block((4,), 0.5, norm="l1"),
    "--block 1x* --sparsity 0.5 --norm max": pp.Block((1, None), 0.5, norm="max"),
    "--threshold 1e-1": pp.Threshold(0.1),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with one sound file, so that messages show short names."""
    monkeypatch.chdir(tmp_path)
    pp.save_file(small_model(), "small.safetensors")
    return tmp_path


def run(words: str) -> int:
    return main(words.replace("IN", "small.safetensors").replace("OUT", "out.safetensors").split())


@pytest.fixture
def _brief_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the demo show one way to prune a small model; its own tests run all of it."""
    monkeypatch.setattr(_demo, "VOCABULARY", 64)
    monkeypatch.setattr(_demo, "WAYS", _demo.WAYS[:1])


def only_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text[:-1]


def make_bad_files() -> None:
    sound = Path("small.safetensors").read_bytes()
    header = 8 + int.from_bytes(sound[:8], "little")
    Path("truncated.safetensors").write_bytes(sound[: header + 3000])
    Path("magic.safetensors").write_bytes(b"PK\x03\x04\0\0\0\0" + bytes(4096))
    Path("short.safetensors").write_bytes(b"abc")
    bomb = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    Path("bomb.safetensors").write_bytes(struct.pack("<Q", len(bomb)) + bomb)
    for name in ("text.safetensors", "text.npz", "text.txt"):
        Path(name).write_text("hello, this is not a model\n" * 9)
    for name in ("directory", "directory.safetensors"):
        Path(name).mkdir()


# --- what goes wrong --------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["inspect {}", "prune {} out.npz --nm 3:4", "pack {} out.npz"])
@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input(name: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    make_bad_files()
    assert run(words.format(name)) == 1
    shown = capsys.readouterr()
    assert only_line(shown.err) == f"prunepack: {BAD_INPUT[name]}"
    assert shown.out == ""
    assert not Path("out.npz").exists()


@pytest.mark.parametrize("words", BAD_WORDS)
def test_bad_words(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    shown = capsys.readouterr()
    command = words.split()[0] + " " if words else ""
    told = BAD_WORDS[words].removesuffix(" (see prunepack --help)")
    help_of = f"prunepack {command}".strip()
    assert only_line(shown.err) == f"prunepack: {told} (see {help_of} --help)"
    assert shown.out == ""
    assert not Path("out.safetensors").exists()


def test_unknown_command_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("shrink IN OUT") == 2
    told = only_line(capsys.readouterr().err)
    assert told.startswith("prunepack: COMMAND: invalid choice: 'shrink'")
    assert "unpack" in told


BAD_OUTPUT = {
    "nowhere/out.safetensors": "nowhere: no such folder to write to; make it first",
    ".": ".: is a directory; name the file to write",
    "out.bin": "path must end in .safetensors, .npz, .npy, got 'out.bin'",
}


@pytest.mark.parametrize("name", BAD_OUTPUT)
def test_bad_output(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"prune IN {name} --nm 3:4") == 1
    assert only_line(capsys.readouterr().err) == f"prunepack: {BAD_OUTPUT[name]}"


@contextmanager
def largest_file(nbytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_no_space_leaves_the_old_file(suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    # A limit on file sizes stands for a full disk: the same write fails, with another errno.
    out = Path(f"out{suffix}")
    out.write_bytes(b"old")
    with largest_file(8192):
        assert run(f"prune IN {out} --nm 3:4") == 1
    assert only_line(capsys.readouterr().err) == f"prunepack: out{suffix}: file too large"
    assert out.read_bytes() == b"old"
    assert {path.name for path in Path().iterdir()} == {"small.safetensors", out.name}


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="needs /dev/full")
@pytest.mark.parametrize(
    "words",
    [
        "inspect small.safetensors",
        "inspect small.safetensors --json",
        "prune small.safetensors out.safetensors --nm 3:4",
        "prune --help",
        "--version",
    ],
)
def test_full_standard_output(folder: Path, words: str) -> None:
    with Path("/dev/full").open("w") as full:
        line = [*COMMAND, *words.split()]
        done = subprocess.run(line, cwd=folder, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert only_line(done.stderr.decode()) == "prunepack: standard output: no space left on device"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_folder_not_writable_as_nobody(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)
    run("inspect IN")  # so that all modules are imported
    capsys.readouterr()
    os.seteuid(65534)
    try:
        assert run("prune IN OUT --nm 3:4") == 1
    finally:
        os.seteuid(0)
    told = only_line(capsys.readouterr().err)
    assert re.fullmatch(r"prunepack: \S*out\.safetensors\S*: permission denied", told)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_not_writable(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.chmod(0o555)
    try:
        assert run("prune IN OUT --nm 3:4") == 1
    finally:
        folder.chmod(0o755)
    told = only_line(capsys.readouterr().err)
    assert re.fullmatch(r"prunepack: \S*out\.safetensors\S*: permission denied", told)


def test_include_that_matches_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prune IN OUT --nm 3:4 --include haed") == 1
    told = only_line(capsys.readouterr().err)
    assert told.startswith(
        "prunepack: include 'haed' matches none of the 9 tensors; the names look"
    )


def test_error_is_one_line_whatever_the_name_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "two\nlines.safetensors"]) == 1
    assert only_line(capsys.readouterr().err).startswith(
        "prunepack: two lines.safetensors: no such"
    )


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect missing.safetensors --debug") == 1
    told = capsys.readouterr().err
    assert told.startswith("Traceback (most recent call last)")
    assert told.endswith("prunepack: missing.safetensors: no such file or directory\n")


# --- what goes right --------------------------------------------------------------------------


@pytest.mark.parametrize("words", PATTERNS)
def test_patterns(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"prune IN OUT {words}") == 0
    assert str(PATTERNS[words]) in capsys.readouterr().out
    expected = pruned(small_model(), PATTERNS[words])
    actual = dense_of(Path("out.safetensors"))
    assert all(same_bits(actual[name], expected[name]) for name in expected)


def test_kernel_tiles_need_kernels() -> None:
    words = "prune IN OUT --block 1x1x*x* --sparsity 0.5 --include *conv*"
    assert run(words) == 0
    kernels = dense_of(Path("out.safetensors"))["layers.10.conv.weight"]
    assert np.count_nonzero(kernels.any(axis=(2, 3))) == 256


def test_prune_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prune IN OUT --nm 3:4 --exclude lm_head") == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert max(map(len, shown.out.splitlines()[:9])) < 80
    before, after = (Path(f"{name}.safetensors").stat().st_size for name in ("small", "out"))
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert lines[:2] == ["small.safetensors -> out.safetensors", "3:4 (75 % sparse)"]
    assert lines[3] == "tensors weights sparsity before after ratio"
    assert lines[5].startswith("pruned and packed 3 9.57 k 74.7 %")
    assert lines[6] == "pruned, dense 1 4.61 k 75.0 % 9.22 kB 9.22 kB 1.00x"
    assert lines[7].startswith("unchanged 5 ")
    total = f"{in_bytes(before)} {in_bytes(after)} {times(before / after)}"
    assert lines[9] == f"file 9 26.6 k 74.8 % {total}"
    assert "layers.10.conv.weight" in lines[-4]
    assert lines[-3] == (
        "not pruned: 2 rank 1, 1 dtype I64, 1 fewer than 2,048 elements, 1 dtype BOOL"
    )
    assert lines[-2] == "note: exclude 'lm_head' matches no tensor"
    assert re.fullmatch(r"done in [\d.]+ m?s \([\d.]+ [kMG]B/s\)", lines[-1])


def test_summary_says_that_nothing_was_pruned(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prune IN OUT --nm 3:4 --min-size 1,000,000") == 0
    assert "note: nothing was pruned" in capsys.readouterr().out


def test_dense_format() -> None:
    assert run("prune IN OUT --nm 3:4 --format dense") == 0
    assert not any(t.packed for t in pp.inspect_checkpoint("out.safetensors").tensors)


def test_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prune IN IN --nm 3:4") == 1
    assert only_line(capsys.readouterr().err).endswith(
        "write elsewhere, or in place if that is meant"
    )
    assert run("prune IN --nm 3:4 --in-place") == 0
    assert run("unpack IN --in-place") == 0
    actual, expected = dense_of(Path("small.safetensors")), pruned(small_model(), pp.NM(3, 4))
    assert all(same_bits(actual[name], expected[name]) for name in expected)


def test_pack_and_unpack_go_round(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prune IN OUT --nm 3:4 --format dense") == 0
    assert run("pack OUT packed.npz --even-if-larger") == 0
    assert run("unpack packed.npz dense.safetensors") == 0
    assert "unpacked" in capsys.readouterr().out
    before, after = dense_of(Path("out.safetensors")), dense_of(Path("dense.safetensors"))
    assert all(same_bits(before[name], after[name]) for name in before)


def test_inspect_table(capsys: pytest.CaptureFixture[str]) -> None:
    run("prune IN OUT --nm 3:4 --quiet")
    assert run("inspect OUT") == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert lines[0] == "tensor shape dtype zeros pattern bytes ratio"
    assert "head 40x80 F32 75.0 % 3:4 3.94 kB 3.25x" in lines
    assert "position_ids 1x4096 I64 - - 32.8 kB -" in lines
    assert lines[12].startswith("9 tensors 26.6 k")
    assert lines[14] == "group tensors weights zeros pattern bytes ratio"
    assert any(line.startswith("layers.*.weight 2 6.37 k 74.6 % 3:4 ") for line in lines[15:])
    names = [line.split()[0] for line in lines[2:11]]
    assert names.index("layers.2.weight") < names.index("layers.10.conv.weight")


def test_verify(capsys: pytest.CaptureFixture[str]) -> None:
    run("prune IN OUT --nm 3:4 --quiet --exclude head")
    assert run("verify OUT --nm 3:4 --exclude head") == 0
    assert capsys.readouterr().out == "3 of 3 tensors follow 3:4 (75 % sparse)\n"
    assert run("verify OUT --nm 3:4") == 1
    assert capsys.readouterr().out == (
        "broken  head: 800 of 800 groups break 3:4 (75 % sparse); the first at (0, 0):"
        " 0 zeros of 4 weights, 3 needed\n"
        "3 of 4 tensors follow 3:4 (75 % sparse)\n"
    )


@pytest.mark.usefixtures("_brief_demo")
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("prune IN OUT --nm 3:4", 0),
        ("pack IN OUT", 0),
        ("unpack IN OUT", 0),
        ("inspect IN", 0),
        ("verify IN --nm 0:4", 0),
        ("verify IN --nm 3:4", 1),
        ("demo", 0),
    ],
)
def test_json_is_all_that_is_printed(
    words: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"{words} --json") == status
    shown = capsys.readouterr()
    assert isinstance(json.loads(shown.out), dict)
    assert shown.err == ""


@pytest.mark.usefixtures("_brief_demo")
@pytest.mark.parametrize(
    "words",
    ["prune IN OUT --nm 3:4", "pack IN OUT", "unpack IN OUT", "verify IN --nm 1:4", "demo"],
)
def test_quiet(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(f"{words} --quiet")
    shown = capsys.readouterr()
    assert shown.out + shown.err == ""


def test_names_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b[2J\n[bold]b"
    pp.save_file({name: np.zeros((64, 64), np.float32)}, "odd.safetensors")
    assert run("inspect odd.safetensors") == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[bold]b" in shown


@pytest.mark.parametrize("command", ["", "prune", "pack", "unpack", "inspect", "verify", "demo"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*command.split(), "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 90
    assert ("N counts" in shown or "zeros in every" in shown) == (
        command in ("", "prune", "inspect", "verify")
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"prunepack {pp.__version__}\n"


# --- terminals, pipes and signals -------------------------------------------------------------

SLOWLY = """
import sys, time
from prunepack._checkpoint import _jobs
from prunepack._cli import main

def slow(make):
    def made(*words):
        time.sleep(0.1)
        return make(*words)
    return made

_jobs.Prune.make = slow(_jobs.Prune.make)
sys.exit(main(sys.argv[1:]))
"""


def test_reader_that_leaves_early(folder: Path) -> None:
    model = {f"layer.{i}.weight": np.zeros(1, np.float32) for i in range(300)}
    pp.save_file(model, "many.safetensors")
    done = subprocess.run(
        f"{sys.executable} -m prunepack inspect many.safetensors; echo $? >&2; ",
        shell=True,
        cwd=folder,
        stdout=closed_pipe(),
        stderr=subprocess.PIPE,
        check=False,
    )
    assert done.stderr == b"141\n"


def closed_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize(
    ("number", "status", "line"),
    [
        (signal.SIGINT, 130, b"prunepack: interrupted; out.safetensors was left as it was\n"),
        (signal.SIGTERM, 143, b""),
    ],
)
def test_signals_leave_the_target_and_no_temporary_file(
    folder: Path, number: signal.Signals, status: int, line: bytes
) -> None:
    out = folder / "out.safetensors"
    out.write_bytes(b"old")
    words = ["prune", "small.safetensors", "out.safetensors", "--nm", "3:4"]
    with subprocess.Popen(
        [sys.executable, "-c", SLOWLY, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        wait_until(lambda: len(list(folder.iterdir())) > 2)  # the temporary file is there
        process.send_signal(number)
        printed, told = process.communicate(timeout=30)
    assert process.returncode == status
    assert told == line
    assert printed == b""
    assert out.read_bytes() == b"old"
    assert len(list(folder.iterdir())) == 2


def wait_until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.01)


def on_a_terminal(folder: Path, *words: str) -> tuple[str, str]:
    """Run slowly with standard error on a terminal; return standard output and what it showed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", SLOWLY, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80"},
    ) as process:
        os.close(theirs)
        assert process.stdout is not None
        shown = b""
        while select.select([ours], [], [], 30)[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # Linux says so when the other side is closed
                break
        printed = process.stdout.read()
    os.close(ours)
    return printed.decode(), shown.decode()


def test_progress_is_shown_on_a_terminal(folder: Path) -> None:
    words = ("prune", "small.safetensors", "out.safetensors", "--nm", "3:4")
    printed, shown = on_a_terminal(folder, *words)
    assert "done in" in printed
    assert "pruning" in shown
    assert "%" in shown


@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_progress_is_not_shown_when_not_wanted(folder: Path, option: str) -> None:
    words = ("prune", "small.safetensors", "out.safetensors", "--nm", "3:4", option)
    assert on_a_terminal(folder, *words)[1] == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(folder: Path, closed: str) -> None:
    def status(words: str) -> int:
        line = f"{' '.join(COMMAND)} {words} {closed}"
        done = subprocess.run(line, shell=True, check=False, cwd=folder, capture_output=True)
        assert b"Traceback" not in done.stderr
        return done.returncode

    assert status("inspect small.safetensors") == 0
    assert status("inspect small.safetensors --json") == 0
    assert status("inspect") == 2


@pytest.mark.usefixtures("folder")
def test_tensors_without_elements(capsys: pytest.CaptureFixture[str]) -> None:
    pp.save_file({"empty.weight": np.zeros((0, 8), np.float32)}, "empty.safetensors")
    options = ["--sparsity", "0.5", "--min-size", "0", "--even-if-larger"]
    assert main(["prune", "empty.safetensors", "out.safetensors", *options]) == 0
    assert "1 no elements" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_numbers_of_any_length(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["layer." + digits for digits in ("9", "010", "1" * 5000)]
    w = np.ones(2, np.float32)
    pp.save_file(dict.fromkeys(reversed(names), w), "digits.safetensors")
    assert main(["inspect", "digits.safetensors"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = [line.split()[0] for line in lines if line.startswith("layer.")]
    assert found[:3] == ["layer.9", "layer.010", "layer."]  # the last one goes on below
    for words in (["--nm", f"1:{'9' * 5000}"], ["--block", f"{'9' * 5000}x1"]):
        assert main(["prune", "small.safetensors", "out.safetensors", *words]) == 2
        assert " must be " in capsys.readouterr().err


def test_python_dash_m_and_the_script_are_the_same(folder: Path) -> None:
    script = Path(sys.executable).with_name("prunepack")
    for command in (COMMAND, (str(script),)):
        words = [*command, "verify", "small.safetensors", "--nm", "3:4", "--quiet"]
        assert subprocess.run(words, cwd=folder, check=False).returncode == 1


# --- words ------------------------------------------------------------------------------------


def test_sizes_have_three_digits() -> None:
    sizes = (0, 999, 1000, 1005, 9994, 12_345, 99_949, 99_951, 999_499, 999_500, 90_868_376)
    assert [in_bytes(size) for size in sizes] == [
        "0 B",
        "999 B",
        "1.00 kB",
        "1.00 kB",
        "9.99 kB",
        "12.3 kB",
        "99.9 kB",
        "100 kB",
        "999 kB",
        "1.00 MB",
        "90.9 MB",
    ]
    assert [in_weights(count) for count in (5, 22_713_216)] == ["5", "22.7 M"]
    assert [in_seconds(t) for t in (0.0124, 0.41, 59.9, 125.0)] == [
        "12 ms",
        "0.41 s",
        "59.90 s",
        "2 min 5 s",
    ]


def test_long_names_break_at_dots() -> None:
    name = "encoder.layer.0.attention.output.dense.weight"
    assert broken_at_dots(name, 24) == "encoder.layer.0.\n  attention.output.\n  dense.weight"
    assert broken_at_dots(name, 80) == name
    assert broken_at_dots("x" * 30, 10) == "x" * 30
