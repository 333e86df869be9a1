"""``prunepack bench``: its words, its table, and that a wrong result is told."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import numpy as np
import pytest

import prunepack as pp
from prunepack import _bench
from prunepack._bench import _contest, _dense, _run
from prunepack._cli import main

SMALL = ["--batch", "2,1", "--patterns", "50%,3:4,16x1@75%", "--num-threads", "1"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run, "SECONDS", 0.0)
    monkeypatch.setattr(_contest, "TURN_SECONDS", 1e-6)


@pytest.mark.parametrize("dtype", _bench.DTYPES)
def test_json(capsys: pytest.CaptureFixture[str], dtype: str) -> None:
    assert main(["bench", "48x64", "17x33", "--dtype", dtype, "--json", *SMALL]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    report = json.loads(shown.out)
    assert report["ok"]
    assert (report["dtype"], report["threads"], report["isa"]) == (dtype, 1, pp.isa())
    assert report["versions"]["numpy"] == np.__version__
    assert [shape["shape"] for shape in report["shapes"]] == [[48, 64], [17, 33]]
    shape = report["shapes"][0]
    assert shape["dense_nbytes"] == 48 * 64 * _bench.DTYPES[dtype].itemsize
    assert shape["dense"][0]["name"] == "prunepack"
    assert [row["pattern"] for row in shape["packed"]] == ["50%", "3:4", "16x1@75%"]
    for row in shape["packed"]:
        assert row["sparsity"] == pytest.approx(0.5 if row["pattern"] == "50%" else 0.75, abs=0.03)
        assert [timing["batch"] for timing in row["timings"]] == [1, 2]
        for timing in row["timings"]:
            assert 0 < timing["p10"] <= timing["speedup"] <= timing["p90"]
            assert timing["rounds"] >= 5
    for timings in zip(*(row["timings"] for row in shape["dense"]), strict=True):
        assert any(timing["speedup"] == 1 for timing in timings), "one is the fastest"


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "48x64", *SMALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f", {pp.isa()}; prunepack " in lines[0]
    assert "48x64 float32, 12.3 kB, 1 thread" in lines
    rows = [line.split() for line in lines]
    assert ["dense", "prunepack", "12.3", "kB"] in [row[:4] for row in rows]
    patterns = [row for row in rows if row and row[0] in ("50%", "3:4", "16x1@75%")]
    assert len(patterns) == 3
    for row in patterns:
        assert row[-1] == "none" or row[-2] == "at"
        assert sum(word.startswith("±") for word in row) == 2


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "8x8", "--quiet", *SMALL]) == 0
    assert capsys.readouterr().out == ""


def test_a_wrong_result_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(*arguments: Any, **others: Any) -> Any:
        return pp.linear(*arguments, **others) + 1

    monkeypatch.setattr(_run, "linear", wrong)
    assert main(["bench", "48x64", *SMALL]) == 1
    assert "prunepack: 3:4: the packed result is wrong\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["64"], "SHAPE must be OUTxIN, the outputs and inputs of a layer, .*got '64'"),
        (["0x64"], "SHAPE must be OUTxIN.*got '0x64'"),
        (["8x8x8"], "SHAPE must be OUTxIN.*got '8x8x8'"),
        (["8x8", "--batch", "1,0"], "--batch must be an integer that is at least 1, got '0'"),
        (["8x8", "--patterns", "50%,"], "--patterns must be patterns such as .*got ''"),
        (
            ["8x8", "--patterns", "5:4"],
            "--patterns must be patterns .*got '5:4': n counts the zeros",
        ),
        (["8x8", "--patterns", "4x4"], "--patterns must be patterns such as .*got '4x4'"),
        ([], "the following arguments are required: SHAPE"),
    ],
)
def test_wrong_words(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(["bench", *words]) == 2
    assert re.match(f"prunepack: {message}", capsys.readouterr().err)


def test_rivals_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dense, "find_torch", lambda: None)
    monkeypatch.setattr(_dense, "_find_threadpoolctl", lambda: None)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    report = _bench.run_bench([(8, 8)], batches=[1], patterns={}, num_threads=77)
    assert [row.name for row in report.shapes[0].dense] == ["prunepack"]
    assert report.notes == (
        "without NumPy, whose threads cannot be set: install threadpoolctl",
        "without torch, which is not installed",
    )


# The contest.


def test_ratios_are_of_pairs() -> None:
    outcome = _contest.Outcome({"a": [1, 2, 4, 1, 1], "b": [2, 4, 8, 2, 4]})
    assert outcome.fastest() == "a"
    assert outcome.median("b") == 4
    p10, median, p90 = outcome.times_faster("a", "b")
    assert (p10, median) == (2, 2)
    assert 2 < p90 <= 4


def test_everyone_has_a_turn_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_contest, "TURN_SECONDS", 0.0)  # one call a turn
    calls: list[str] = []
    works = {name: functools.partial(calls.append, name) for name in "ab"}
    outcome = _contest.take_turns(works, threads=1, seconds=0)
    assert [len(times) for times in outcome.seconds.values()] == [_contest.FEWEST_ROUNDS] * 2
    assert "".join(calls) == "aabb" + "ab" * _contest.FEWEST_ROUNDS
    calls.clear()
    monkeypatch.setattr(_contest, "REST_SECONDS", 0.0)
    _contest.take_turns(works, threads=2, seconds=0)
    assert "".join(calls) == "aabb" + "aabb" * _contest.FEWEST_ROUNDS, "threads are woken first"
