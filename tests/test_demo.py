"""The demo: right, quick, and able to fail."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import prunepack as pp
from prunepack import _demo
from prunepack._cli import main

if TYPE_CHECKING:
    from prunepack._arrays import Array


def test_demo_keeps_its_files_and_prints_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "folder"
    assert main(["demo", "--keep", str(folder)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert max(map(len, lines[:-1])) < 80
    assert lines[-1] == f"files: {folder}"
    assert [line.split()[-1] for line in lines[4:9]] == ["yes"] * 5
    files = {path.name for path in folder.iterdir()}
    assert len(files) == 1 + 2 * len(_demo.WAYS)
    assert 8e6 < (folder / "model.safetensors").stat().st_size < 20e6
    for way in _demo.WAYS:
        assert pp.verify_checkpoint(folder / f"{way.stem}.packed.safetensors", way.pattern).ok


def test_demo_sizes_are_near_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_demo, "VOCABULARY", 512)
    report = _demo.run_demo(tmp_path)
    assert report.ok
    for row in report.rows:
        assert row.report.bytes_after < 1.05 * row.report.model_bytes
        assert row.report.ratio > 1.75
        assert 0 < row.error < 1
    errors = [row.error for row in report.rows]
    assert errors[0] < errors[1] < errors[2] < errors[3], "freedom costs least"


def test_demo_fails_when_a_weight_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(weights: Array) -> Array:
        expected = way.expected(weights).copy()
        expected.flat[np.flatnonzero(expected)[0]] *= -1
        return expected

    way = _demo.WAYS[3]
    monkeypatch.setattr(_demo, "VOCABULARY", 64)
    monkeypatch.setattr(_demo, "WAYS", (dataclasses.replace(way, expected=wrong),))
    assert main(["demo", "--keep", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines()[4].split()[-1] == "no"
    assert shown.err.startswith("prunepack: 3:4: ")
    assert shown.err.endswith(" differs from NumPy\n")


def test_demo_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(_demo, "VOCABULARY", 64)
    monkeypatch.setattr(_demo, "WAYS", _demo.WAYS[3:4])
    assert main(["demo"]) == 0
    assert list(tmp_path.iterdir()) == []
    assert "3:4" in capsys.readouterr().out
