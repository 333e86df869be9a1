"""The page of a report: what it says, that it needs nothing else, and what is refused."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import prunepack as pp
import reference
from models import small_model
from prunepack._cli import main
from samples import DTYPES, sample

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("matplotlib")

VOID = {"meta", "wbr", "br", "link", "img"}


class Page(HTMLParser):
    """Checks that elements are closed, and collects text and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


@pytest.fixture
def original(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    pp.save_file(small_model(), path)
    return path


@pytest.fixture
def small(original: Path) -> Path:
    path = original.with_name("small.safetensors")
    pp.prune_checkpoint(original, path, pp.Unstructured(0.75))
    return path


def written(src: Path, **options: Any) -> Page:
    target = src.with_name("page.html")
    pp.report_checkpoint(src, target, **options)
    return Page(target.read_text("utf-8"))


def test_what_it_says(original: Path, small: Path) -> None:
    page = written(small, before=original)
    assert "75.0 %" in page.text
    for name in ("layers.0.weight", "layers.10.conv.weight", "head"):
        assert name in page.text
    assert page.tags.count("svg") == 2 + 4
    assert "kept and" in page.text


def test_it_needs_no_network(original: Path, small: Path) -> None:
    page = written(small, before=original)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    for name, value in page.attributes:
        if name in ("src", "href", "xlink:href"):
            assert value is not None
            assert value.startswith("#")
    text = small.with_name("page.html").read_text("utf-8")
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_the_same_page_every_time(small: Path) -> None:
    target = small.with_name("page.html")
    pp.report_checkpoint(small, target, num_threads=1)
    first = target.read_bytes()
    pp.report_checkpoint(small, target, num_threads=3)
    assert target.read_bytes() == first


def test_a_folder_and_another(original: Path, tmp_path: Path) -> None:
    pp.unpack_checkpoint(original, tmp_path / "folder", max_shard_size=20_000)
    pp.prune_checkpoint(tmp_path / "folder", tmp_path / "small", pp.NM(3, 4))
    page = written(tmp_path / "small", before=tmp_path / "folder")
    assert "3:4" in page.text


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
@pytest.mark.parametrize("distribution", ["normal", "NaN and infinities", "90 % zeros", "constant"])
def test_magnitudes(tmp_path: Path, dtype: np.dtype[Any], distribution: str) -> None:
    """Kept and pruned add up to the numbers that were there, and the cut is where they meet."""
    w = np.array(sample(distribution, dtype, (64, 48)))
    pp.save_file({"w": w}, tmp_path / "before.safetensors")
    pruned = pp.prune(w, pp.Unstructured(0.4))
    pp.save_file({"w": pruned}, tmp_path / "after.safetensors")
    found = pp.report_checkpoint(
        tmp_path / "after.safetensors", tmp_path / "p.html", before=tmp_path / "before.safetensors"
    )
    magnitudes, sizes = found.tensors[0].magnitudes, reference.magnitude(w)
    assert magnitudes is not None
    # Zeros and what is too small for the finest histogram are left out.
    numbers = int(np.sum((sizes > 0) & np.isfinite(sizes)))
    assert int(magnitudes.kept.sum() + magnitudes.pruned.sum()) == pytest.approx(numbers, rel=0.01)
    zeros = int(np.sum(reference.magnitude(pruned) == 0))
    assert found.tensors[0].zeros == zeros
    ranked = np.sort(sizes.ravel())
    if magnitudes.cut is not None and zeros < np.sum(np.isfinite(ranked)):
        assert magnitudes.cut == pytest.approx(ranked[zeros], rel=2**-5)


def test_names_are_escaped(tmp_path: Path) -> None:
    names = (
        "<script>alert(1)</script>.0.weight",
        "a.$x^2$.1.weight",
        "\u540d\u524d.weight",
        "&amp;",
    )
    w = pp.prune(np.random.default_rng(0).standard_normal((64, 64)), pp.NM(2, 4))
    pp.save_file(dict.fromkeys(names, w), tmp_path / "model.safetensors")
    page = written(tmp_path / "model.safetensors")
    assert "script" not in page.tags
    for name in names:
        assert name in page.text


def test_times_of_a_run(original: Path, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["prune", str(original), str(small), "--sparsity", "0.5", "--json"]
    assert main(words) == 0
    run = small.with_name("run.json")
    run.write_text(capsys.readouterr().out)
    assert all(t["seconds"] > 0 for t in json.loads(run.read_text())["tensors"])
    assert "Slowest" in written(small, run=run).text
    assert "Slowest" not in written(small).text


@pytest.mark.parametrize("model", [{}, {"bias": np.ones(3, np.float32)}, {"ids": np.arange(9)}])
def test_models_without_weights(tmp_path: Path, model: Any) -> None:
    pp.save_file(model, tmp_path / "model.safetensors")
    assert "model.safetensors" in written(tmp_path / "model.safetensors").text


def test_what_is_refused(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = small.with_name("page.html")
    with pytest.raises(ValueError, match=r"path must end in .html"):
        pp.report_checkpoint(small, small.with_name("page.pdf"))
    other = small.with_name("other.safetensors")
    pp.save_file(small_model() | {"head": np.ones((80, 40))}, other)
    with pytest.raises(ValueError, match=r"'head' of .* must have the shape it has in .*other"):
        pp.report_checkpoint(small, page, before=other)
    pp.save_file({"x": np.ones(3)}, other)
    with pytest.raises(ValueError, match=r"must be in .*other.* too, it is not"):
        pp.report_checkpoint(small, page, before=other)
    for text in ("{", "[]", '{"tensors": 3}', '{"tensors": [1]}'):
        run = small.with_name("run.json")
        run.write_text(text)
        with pytest.raises(pp.FormatError, match=r"run.json: must be what prune --json prints"):
            pp.report_checkpoint(small, page, run=run)
    monkeypatch.setattr("prunepack._report._write.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install matplotlib"):
        pp.report_checkpoint(small, page)
    assert not page.exists()


def test_the_command_line(
    original: Path, small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = small.with_name("page.html")
    assert main(["report", str(small), str(page), "--before", str(original)]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {page}")
    assert main(["report", str(small), str(page), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {t["name"] for t in found["tensors"]} == small_model().keys()
    monkeypatch.setattr("prunepack._report._write.find_spec", lambda _: None)
    assert main(["report", str(small), str(page)]) == 1
    assert "needs matplotlib" in capsys.readouterr().err
