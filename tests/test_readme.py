"""The README's Python blocks run as written, in order, and its commands are real."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prunepack as pp
from folders import write_folder
from prunepack._cli import main
from prunepack._cli._parser import build_parser

README = Path(__file__).parent.parent / "README.md"


def test_python_blocks_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(
        r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert len(blocks) >= 2
    namespace: dict[str, Any] = {}
    for block in blocks:
        if "import torch" in block and find_spec("torch") is None:
            continue
        exec(compile(block, "README.md", "exec"), namespace)  # noqa: S102  # our own README
    assert capsys.readouterr().out.startswith("0.75 ")


def test_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    w = np.random.default_rng(5).standard_normal((64, 64)).astype(np.float16)
    pp.save_file({"fc.weight": w, "lm_head.weight": w[::-1]}, "model.safetensors")
    pp.save_file({"fc.weight": w + w.dtype.type(9), "lm_head.weight": w}, "tuned.safetensors")
    write_folder(Path("model-folder"))
    Path("rules.toml").write_text(toml_block())
    commands = re.findall(r"^    prunepack (.*)$", README.read_text("utf-8"), re.MULTILINE)
    assert len(commands) >= 6
    for command in commands:
        if command.startswith("bench"):  # takes long, and is tested by itself
            build_parser().parse_args(shlex.split(command))
            continue
        # The README's files come from different commands, so a verify may find another's pattern.
        status = main(shlex.split(command))
        assert status == 0 or (status == 1 and command.startswith("verify")), command


def toml_block() -> str:
    (block,) = re.findall(
        r"^```toml\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return str(block)


def test_rules_are_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(toml_block())
    rules = pp.load_rules(tmp_path / "rules.toml")
    assert rules.otherwise == pp.NM(2, 4)
    assert [rule.then for rule in rules.rules] == ["skip", pp.Unstructured(0.5), "keep dense"]


def test_set_up_commands_are_there_once() -> None:
    text = README.read_text("utf-8")
    for last in ("demo", "pytest"):
        assert len(re.findall(rf"^    python3 -m venv .*{last}$", text, re.MULTILINE)) == 1
