"""Every way a file can be wrong: exactly what is said of it, and that it costs nothing.

The files are in tests/malformed/, a table for each kind.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from malformed.archives import ONE, manifest
from malformed.making import described, entry, npz_bytes, packed, packed_24, st_bytes
from malformed.reading import CASES
from prunepack import FormatError, PackedTensor
from prunepack._file_reader import open_file
from prunepack._files import load_file

MOST_BYTES, MOST_SECONDS = 10_000_000, 1.0


@pytest.mark.parametrize("why", CASES)
def test_malformed(why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[why]
    monkeypatch.chdir(tmp_path)
    case.write()
    with pytest.raises(FormatError) as caught:
        case.read(case.path)
    assert case.is_said_by(caught.value), f"{caught.value}\n{case.message}"
    assert len(str(caught.value)) < 1_000
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("compressed", "found"),
    [(("F4", [4], bytes(2)), "F4"), (("I16", [3], bytes(6)), "int16")],
    ids=["unknown", "known"],
)
def test_values_nobody_packs_are_found_without_reading_them(
    compressed: tuple[str, list[int], bytes], found: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(packed(compressed=compressed))
    with open_file(path) as file, pytest.raises(FormatError) as caught:
        file.info("fc.weight")
    assert str(caught.value) == (
        f"{path}: packed tensor 'fc.weight': compressed must have a dtype that can be packed, got {found}"
    )


def test_none_of_them_costs_much() -> None:
    """In a process that the system gives no more memory: neither Python nor C++ may ask for it."""
    script = Path(__file__).parent / "malformed" / "cost.py"
    done = subprocess.run(
        [sys.executable, script, str(MOST_BYTES)], capture_output=True, check=False
    )
    assert done.stderr == b""
    costs = json.loads(done.stdout)
    assert costs.keys() == CASES.keys()
    assert {why: cost for why, cost in costs.items() if cost["error"] != "FormatError"} == {}
    slow = {why: cost for why, cost in costs.items() if cost["seconds"] > MOST_SECONDS}
    assert slow == {}


def test_the_bases_of_these_cases_are_sound(tmp_path: Path) -> None:
    told = '{"version":1,"packed":{"fc":{"prefix":"fc","pattern":null}}}'
    for octets in (packed(), packed_24(), described(told)):
        path = tmp_path / "m.safetensors"
        path.write_bytes(octets)
        (tensor,) = load_file(path).values()
        assert isinstance(tensor, PackedTensor)
    for name, octets in (("m.npz", npz_bytes({"a.npy": ONE})), ("m.npy", ONE)):
        (tmp_path / name).write_bytes(octets)
        assert len(load_file(tmp_path / name)) == 1


SEEDS = {
    ".safetensors": (packed(also="bias"), packed_24(), st_bytes('{"a":' + entry() + "}  ", b"x")),
    ".npz": (npz_bytes({"a.npy": ONE}), manifest('{"version":1,"metadata":{},"dtypes":{}}')),
    ".npy": (ONE,),
}
FRAGMENTS = (
    b'"',
    b"{",
    b"}",
    b"[",
    b",",
    b"-",
    b"9",
    b"0",
    b"e",
    b"\\u",
    b"null",
    b"NaN",
    b"\xff",
    b" ",
)


@pytest.mark.parametrize("suffix", SEEDS)
@settings(
    deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_mutations_load_or_are_refused(suffix: str, data: st.DataObject, tmp_path: Path) -> None:
    octets = bytearray(data.draw(st.sampled_from(SEEDS[suffix])))
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(octets)))
        end = min(len(octets), begin + data.draw(st.integers(0, 3)))
        octets[begin:end] = data.draw(st.binary(max_size=3) | st.sampled_from(FRAGMENTS))
    path = tmp_path / f"m{suffix}"
    path.write_bytes(octets)
    try:
        tensors = load_file(path)
    except FormatError as error:
        assert str(path) in str(error)  # noqa: PT017 (either way is right)
    else:
        assert all(
            isinstance(tensor, np.ndarray | PackedTensor) or tensor.nbytes
            for tensor in tensors.values()
        )
