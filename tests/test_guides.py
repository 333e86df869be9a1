"""The guides run as written: each a script of its own, in an empty folder."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from pages import DOCS, Block, blocks

if TYPE_CHECKING:
    from pathlib import Path

GUIDES = sorted(DOCS.glob("guides/*.md"))
PRELUDE = """
import shlex
from pathlib import Path
from prunepack._cli import main
from prunepack._cli._parser import build_parser
"""


def test_there_are_three() -> None:
    assert len(GUIDES) == 3


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_a_guide_runs(guide: Path, tmp_path: Path) -> None:
    found = blocks(guide)
    if any("import torch" in block.text for block in found) and find_spec("torch") is None:
        pytest.skip("torch is not installed")
    script = tmp_path / "guide.py"
    script.write_text("\n".join([PRELUDE, *map(as_python, found)]), "utf-8")
    result = subprocess.run(
        [sys.executable, script], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    for block in found:
        if block.language == "text":
            assert block.text in result.stdout


def as_python(block: Block) -> str:
    """What a reader does with a block: run it, type it in, save it under the name it begins with."""
    if block.language == "python":
        return block.text
    if block.language == "toml":
        name = re.match(r"# (\S+\.toml)\n", block.text)
        assert name, "a TOML block must begin with the name of its file"
        return f"Path({name[1]!r}).write_text({block.text!r})"
    if block.language == "sh":
        return "\n".join(map(command, block.text.splitlines()))
    assert block.language == "text", f"nobody knows what to do with {block.language}"
    return ""


def command(line: str) -> str:
    program, _, rest = line.partition(" ")
    assert program == "prunepack"
    if rest.startswith("bench"):  # takes long, and is tested by itself
        return f"build_parser().parse_args(shlex.split({rest!r}))"
    return f"assert main(shlex.split({rest!r})) == 0, {rest!r}"
