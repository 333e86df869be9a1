#!/usr/bin/env python3
"""Hostile files for every reader: each is read, or refused by a message that names the file.

An input says which sound file to begin with and what to spoil in it, or is a file itself. With
Atheris (`pip install atheris`) it is a fuzzer that is led by coverage; without, or with --replay, it
reads each input once:

    python tests/fuzz/fuzz_readers.py tests/fuzz/corpus/readers [-max_total_time=60 ...]
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    FUZZES = "--replay" not in sys.argv and importlib.util.find_spec("atheris") is not None
    if FUZZES:
        atheris = importlib.import_module("atheris")
        with atheris.instrument_imports(
            include=["prunepack", "zipfile", "tomllib", "json", "numpy.lib"]
        ):
            import json  # noqa: F401
            import zipfile  # noqa: F401

            import prunepack  # noqa: F401

from fuzz.choices import Choices
from fuzz.mutations import SPOIL, spoil_bytes
from fuzz.seeds import seeds
from prunepack import (
    NM,
    FormatError,
    PackedTensor,
    inspect_checkpoint,
    load_rules,
    prune_checkpoint,
    unpack_checkpoint,
)
from prunepack._mask_file import MaskFile, is_mask_file
from prunepack._source import open_checkpoint

MOST_BYTES, MOST_SECONDS = 10_000_000, 1.0
RAW = 0xFF  # an input that begins so is a file as it stands


class Finding(AssertionError):
    """A reader did what no reader may do."""


def files_of(octets: bytes) -> dict[str, bytes]:
    """Return the files that an input stands for; the first one is spoilt."""
    choices = Choices(octets)
    kind = choices.number(1)
    if kind == RAW:
        return {"m" + choices.of(tuple(SPOIL)): choices.rest()}
    files = dict(seeds()[kind % len(seeds())])
    name = next(iter(files))
    while choices:
        if choices.below(3) == 0:
            files[name] = spoil_bytes(files[name], choices)
        else:
            files[name] = SPOIL[Path(name).suffix](files[name], choices)
    return files


def exercise(path: Path) -> None:
    """Read everything there is to read in a file or a folder."""
    if path.suffix == ".toml":
        rules = load_rules(path)
        repr(rules)
        str(rules)
        return
    with open_checkpoint(path) as source:
        for name, info in source.infos().items():
            assert info.nbytes >= 0
            tensor = source.read(name)
            assert tensor.shape == info.shape
            if isinstance(tensor, PackedTensor):
                dense = tensor.to_dense(num_threads=1)
                assert dense.shape == info.shape
                assert tensor.kept == info.kept
        if is_mask_file(source.file):
            masks = MaskFile(source.file)
            for name in masks.infos:
                masks.read(name).to_bool()
    inspect_checkpoint(path, num_threads=1)
    unpack_checkpoint(path, None, dry_run=True, num_threads=1)
    prune_checkpoint(path, None, NM(2, 4), min_size=0, dry_run=True, num_threads=1)


def run(octets: bytes) -> bool:
    """Try one input; tell whether its files were sound. A finding is an exception."""
    files = files_of(octets)
    folder = Path(
        tempfile.mkdtemp(prefix="fuzz_", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    )
    try:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        path = folder if len(files) > 1 else folder / next(iter(files))
        return _limited(path, sum(map(len, files.values())))
    finally:
        shutil.rmtree(folder)


def _limited(path: Path, nbytes: int) -> bool:
    # A deflated byte may stand for 1,032: that is a sound array, and to be read it must be held
    # once compressed and a few times as it is.
    most = MOST_BYTES + (4 * 1032 * nbytes if path.suffix == ".npz" else 20 * nbytes)
    if not tracemalloc.is_tracing():
        tracemalloc.start()  # for good: to stop and start it again loses memory each time
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    sound, seconds = _timed(path)
    peak = tracemalloc.get_traced_memory()[1] - before
    if seconds > MOST_SECONDS:  # what another process does to the caches is no finding
        seconds = min(seconds, _timed(path)[1], _timed(path)[1])
    if peak > most:
        msg = f"{nbytes} bytes made it allocate {peak}"
        raise Finding(msg)
    if seconds > MOST_SECONDS:
        msg = f"{nbytes} bytes took it {seconds:.1f} s"
        raise Finding(msg)
    return sound


def _timed(path: Path) -> tuple[bool, float]:
    begin = time.process_time()
    sound = _is_sound(path)
    return sound, time.process_time() - begin


def _is_sound(path: Path) -> bool:
    try:
        exercise(path)
    except (FormatError, ValueError) as error:
        if str(path) not in str(error):
            msg = f"the message does not name the file: {type(error).__name__}: {error}"
            raise Finding(msg) from error
        if len(str(error)) > 3_000:
            msg = f"the message has {len(str(error))} characters"
            raise Finding(msg) from error
        return False
    except OSError as error:
        if str(path) not in str(error.filename):
            msg = f"the error does not name the file: {error!r}"
            raise Finding(msg) from error
        return False
    return True


def replay(paths: list[Path]) -> int:
    """Try the inputs in files and folders; return how many there were."""
    files = [
        file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])
    ]
    for file in files:
        try:
            run(file.read_bytes())
        except BaseException:
            print(f"{file} fails", file=sys.stderr)
            raise
    return len(files)


if __name__ == "__main__":
    seeds()  # beforehand, or the first input would seem slow
    if FUZZES:
        atheris.Setup(sys.argv, lambda octets: run(octets) and None)
        atheris.Fuzz()
    else:
        print(replay([Path(arg) for arg in sys.argv[1:] if arg[0] != "-"]), "inputs replayed")
