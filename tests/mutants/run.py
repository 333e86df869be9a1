"""Break the code in small ways, one at a time, and see which check notices.

    python tests/mutants/run.py [--match] [--only TEXT ...]

Each table beside this file lists mutants: a file, a text that is in it once, what to put in its
place, and what that breaks. Every one is applied to a copy of the tree in build/mutants, what
changed is built, and the checks are run until one fails: prunepack_check for a kernel (under qemu
for NEON), then the tests the table names, where {widest} is the best ISA that this CPU has. A mutant
that none of them notices is a hole in the tests; one of an ISA that cannot run here is not run.
One whose text is no longer there is an error, and so is one that does not compile; before the
first, all checks must pass on the code as it is. Takes about an hour on two cores; the exit status is 1 if
one survives. Needs what building needs: cmake, ninja, pybind11; with ccache it is much quicker.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WORK = ROOT / "build" / os.environ.get("PRUNEPACK_MUTANTS", "mutants")  # for two runs at once
TREE = WORK / "tree"
PATIENCE = 900  # seconds: what takes longer hangs, which is noticed too
PYTHONPATH = f"{HERE.parent / 'instead'}:{TREE / 'python'}"
EMULATOR = ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")
ISAS = re.compile(r"\b(?:scalar|neon|avx2|avx512)\b")


@dataclass(frozen=True)
class Mutant:
    """One way to break a file, and the checks that may notice, cheapest first."""

    table: str
    file: str
    old: str
    new: str
    breaks: str
    checks: tuple[str, ...]
    survives: str

    def __str__(self) -> str:
        return f"{self.file}: {self.breaks}"

    @property
    def is_compiled(self) -> bool:
        return self.file.startswith("cpp/")

    def for_isas(self, usable: Sequence[str]) -> Mutant:
        """Return the same, with the best ISA where its checks ask for that."""
        checks = tuple(check.format(widest=usable[-1]) for check in self.checks)
        return replace(self, checks=checks)

    def missing(self, usable: Sequence[str]) -> set[str]:
        """Return the ISAs that its checks are for, and that cannot run here."""
        return {isa for check in self.checks for isa in ISAS.findall(check)} - {*usable}

    def apply(self, text: str) -> str:
        """Return the broken text; the old one must be there exactly once."""
        found = text.count(self.old)
        if found != 1:
            msg = f"{self.table}: {self}: the text must be there once, it is there {found} times"
            raise ValueError(msg)
        return text.replace(self.old, self.new)


def read_tables() -> list[Mutant]:
    """Read every table; keys that a mutant does not give are those of its table."""
    mutants = []
    for path in sorted(HERE.glob("*.toml")):
        table = tomllib.loads(path.read_text("utf-8"))
        common = {key: value for key, value in table.items() if key != "mutant"}
        for each in table["mutant"]:
            given = common | each
            mutants.append(
                Mutant(
                    path.name,
                    given["file"],
                    given["old"],
                    given["new"],
                    given["breaks"],
                    tuple(given["checks"]),
                    given.get("survives", ""),
                )
            )
    return mutants


def copy_tree() -> None:
    """Bring the copy up to date; a file that is the same keeps its time, and is not built again."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, TREE / name
        if not source.is_file():
            continue
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def configure() -> None:
    """Set up the builds, quick and not too critical; ccache knows again what has been mended."""
    launcher = WORK / "compile"
    launcher.write_text(f'#!/bin/sh\nexec {shutil.which("ccache") or ""} "$@" -O1 -Wno-error\n')
    launcher.chmod(0o755)
    pybind11 = subprocess.run(
        [sys.executable, "-m", "pybind11", "--cmakedir"], check=True, capture_output=True, text=True
    ).stdout.strip()
    common = (f"-DCMAKE_CXX_COMPILER_LAUNCHER={launcher}",)
    python = (
        "-DPRUNEPACK_PYTHON=ON",
        f"-Dpybind11_DIR={pybind11}",
        f"-DPython_EXECUTABLE={sys.executable}",
        "-DCMAKE_INTERPROCEDURAL_OPTIMIZATION=OFF",  # or each link takes longer than what it links
    )
    run("cmake", "--preset", "dev", *common, *python)
    if shutil.which(EMULATOR[0]):
        run("cmake", "--preset", "aarch64", *common)


def usable_isas() -> list[str]:
    """Return what can run here, the best one last; NEON is emulated."""
    build("scalar-check")
    told = attempt(["build/dev/cpp/check/prunepack_check", "--usable"]).stdout.split()
    return ["neon", *told] if shutil.which(EMULATOR[0]) and "neon" not in told else told


class BuildError(Exception):
    """Something cannot be built."""


def run(*words: str, **environment: str) -> None:
    """Run a command that must succeed."""
    done = attempt(words, **environment)
    if done.returncode != 0:
        msg = f"{' '.join(words)} failed:\n{done.stdout[-4000:]}"
        raise BuildError(msg)


def attempt(words: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the copy of the tree."""
    return subprocess.run(
        words,
        cwd=TREE,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=PATIENCE,
        env=os.environ | environment,
    )


def build(check: str) -> None:
    """Build what a check runs."""
    if check.endswith("-check"):
        preset = "aarch64" if check == "neon-check" else "dev"
        run("ninja", "-C", f"build/{preset}", "prunepack_check")
        return
    run("ninja", "-C", "build/dev", "_core")
    (built,) = (TREE / "build" / "dev").glob("_core*.so")
    linked = TREE / "python" / "prunepack" / built.name
    linked.unlink(missing_ok=True)
    linked.symlink_to(built)


def command_of(check: str) -> list[str]:
    """Return the words of a check: ISA-check, or what pytest is given."""
    if check.endswith("-check"):
        isa = check.removesuffix("-check")
        preset, emulator = ("aarch64", EMULATOR) if isa == "neon" else ("dev", ())
        return [*emulator, f"build/{preset}/cpp/check/prunepack_check", "--quick", isa]
    options = ("-n", "0", "-x", "-q", "-p", "no:cacheprovider")
    words = re.findall(r"'([^']*)'|(\S+)", check)
    return [sys.executable, "-m", "pytest", *options, *(quoted or word for quoted, word in words)]


def noticed_by(check: str) -> str | None:
    """Run a check; return what in it failed, or None if nothing did."""
    try:
        if check.endswith("-check"):
            return failed_family(check)
        done = attempt(command_of(check), PYTHONPATH=PYTHONPATH, HYPOTHESIS_PROFILE="short")
    except subprocess.TimeoutExpired:
        return f"{check} (hangs)"
    if done.returncode == 0:
        return None
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return failed[0] if failed else f"{check}: exit status {done.returncode}"


def failed_family(check: str) -> str | None:
    """Run prunepack_check until a family of kernels fails; the others need not be tried."""
    began = time.monotonic()
    with subprocess.Popen(
        command_of(check), cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        alarm = threading.Timer(PATIENCE, process.kill)  # what hangs does not print
        alarm.start()
        for line in process.stdout:
            if "FAILED" in line:
                process.kill()
                alarm.cancel()
                return " ".join(line.split())
        alarm.cancel()
    if process.returncode == 0:
        return None
    hangs = time.monotonic() - began > PATIENCE
    return f"{check} (hangs)" if hangs else f"{check}: exit status {process.returncode}"


def fate_of(mutant: Mutant) -> tuple[str, str]:
    """Break the copy, and mend it; return what became of the mutant, and who noticed or why nobody."""
    path = TREE / mutant.file
    sound = path.read_text("utf-8")
    path.write_text(mutant.apply(sound), "utf-8")
    try:
        for check in mutant.checks:
            if mutant.is_compiled:
                build(check)
            noticed = noticed_by(check)
            if noticed is not None:
                return "killed", noticed
        if mutant.survives:
            return "equivalent", mutant.survives
        return "SURVIVED", "no check fails"
    except BuildError as error:
        return "DOES NOT COMPILE", str(error)
    finally:
        path.write_text(sound, "utf-8")


def build_the_sound_code(mutants: Sequence[Mutant], *, trusted: bool) -> None:
    """Build everything, and run every check: one that fails anyway would notice everything."""
    for check in dict.fromkeys(check for mutant in mutants for check in mutant.checks):
        build(check)
        if not check.endswith("-check"):
            see_that_the_copy_is_imported()
        noticed = None if trusted else noticed_by(check)
        if noticed is not None:
            msg = f"fails on the code as it is: {noticed}"
            raise RuntimeError(msg)


def see_that_the_copy_is_imported() -> None:
    """Raise an error if tests would import another prunepack, which no mutant is in."""
    told = attempt(
        [sys.executable, "-c", "from prunepack import _core; print(_core.__file__)"],
        PYTHONPATH=PYTHONPATH,
    ).stdout
    if not told.startswith(str(TREE)):
        msg = f"tests must import prunepack from {TREE}, they import {told}"
        raise RuntimeError(msg)


def main() -> int:
    """Run the mutants and print a table of their fates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--match", action="store_true", help="only see whether every text is there")
    parser.add_argument(
        "--trust", action="store_true", help="do not run the checks on the sound code first"
    )
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT", help="in table, file or what breaks"
    )
    options = parser.parse_args()

    mutants = [
        mutant
        for mutant in read_tables()
        if any(text in f"{mutant.table}: {mutant}" for text in options.only)
    ]
    for mutant in mutants:
        mutant.apply((ROOT / mutant.file).read_text("utf-8"))
    print(f"{len(mutants)} mutants, every text is there once", flush=True)
    if options.match:
        return 0

    os.nice(19)
    WORK.mkdir(parents=True, exist_ok=True)
    copy_tree()
    configure()
    usable = usable_isas()
    mutants = [mutant.for_isas(usable) for mutant in mutants]
    runnable = [mutant for mutant in mutants if not mutant.missing(usable)]
    build_the_sound_code(runnable, trusted=options.trust)
    fates: Counter[str] = Counter()
    for mutant in mutants:
        if missing := mutant.missing(usable):
            fates["not run"] += 1
            print(f"{mutant}\n    not run: {', '.join(missing)} cannot run here", flush=True)
            continue
        began = time.monotonic()
        kind, told = fate_of(mutant)
        fates[kind] += 1
        print(f"{mutant}\n    {kind}: {told} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{len(mutants)} mutants:", ", ".join(f"{n} {kind}" for kind, n in sorted(fates.items())))
    return 1 if fates["SURVIVED"] or fates["DOES NOT COMPILE"] else 0


if __name__ == "__main__":
    sys.exit(main())
