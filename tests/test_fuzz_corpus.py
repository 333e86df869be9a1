"""The inputs that the fuzzer of the readers has found worth keeping, each once.

Those of the C++ targets are replayed by `tests/fuzz/run --replay`, in a sanitized build.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.choices import Choices
from fuzz.fuzz_readers import RAW, Finding, files_of, replay, run
from fuzz.mutations import NUMBERS, SPOIL
from fuzz.seeds import seeds

CORPUS = Path(__file__).parent / "fuzz" / "corpus"


def test_no_reader_fails() -> None:
    assert replay([CORPUS / "readers"]) > 50


@pytest.mark.parametrize("index", range(len(seeds())))
def test_what_is_spoilt_was_sound(index: int) -> None:
    assert run(bytes([index]))
    name = next(iter(seeds()[index]))
    spoilt = files_of(bytes([index, 1, 0, 0, 0, 0]))[name]
    assert spoilt != seeds()[index][name]


def test_an_input_may_be_a_file() -> None:
    suffix = list(SPOIL).index(".npy")
    assert files_of(bytes([RAW, suffix]) + b"\x93NUMPY") == {"m.npy": b"\x93NUMPY"}
    assert not run(bytes([RAW, suffix]) + b"\x93NUMPY")


def fails(_: Path) -> None:
    msg = "no name"
    raise ValueError(msg)


def wastes(_: Path) -> None:
    bytes(40_000_000)


@pytest.mark.parametrize(
    ("reader", "finding"), [(fails, "does not name the file"), (wastes, "made it allocate")]
)
def test_findings_are_found(reader: object, finding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.fuzz_readers.exercise", reader)
    with pytest.raises(Finding, match=finding):
        run(b"\0")


def test_choices_end_in_zeros() -> None:
    choices = Choices(b"\x05\x01\x02")
    assert (choices.below(3), choices.number(2), choices.number(2)) == (2, 0x201, 0)
    assert not choices
    assert choices.of(NUMBERS) == NUMBERS[0]
