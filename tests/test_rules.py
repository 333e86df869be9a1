"""Rules: which tensor gets which pattern, from Python and from TOML files, and target sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import prunepack as pp
from folders import LINEARS, contents, tensors_of, transformer, write_folder
from models import pruned
from prunepack import _words
from prunepack._cli import main
from prunepack._tensor_info import TensorInfo
from samples import same_bits

if TYPE_CHECKING:
    from prunepack import Pattern

INFO = TensorInfo("BF16", (96, 64))
NM, HALF = pp.NM(2, 4), pp.Unstructured(0.5)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "model")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def patterns(report: Any) -> dict[str, str]:
    return {t.name: t.pattern for t in report.tensors if t.pattern}


# --- one rule ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "matches"),
    [
        ({}, True),
        ({"name": "*.up_proj.*"}, True),
        ({"name": "up_proj"}, False),
        ({"name": ["x", "model.layers.[01].*"]}, True),
        ({"regex": r"up"}, True),
        ({"regex": r"^up"}, False),
        ({"regex": r"layers\.\d+\.mlp.*weight$"}, True),
        ({"dtype": "BF16"}, True),
        ({"dtype": ["F32", "F16"]}, False),
        ({"shape": (96, 64)}, True),
        ({"shape": [None, 64]}, True),
        ({"shape": (None, 64, None)}, False),
        ({"shape": (64, None)}, False),
        ({"shape": (96,)}, False),
        ({"min_rank": 2, "max_rank": 2}, True),
        ({"min_rank": 3}, False),
        ({"max_rank": 1}, False),
        ({"min_size": 6144, "max_size": 6144}, True),
        ({"min_size": 6145}, False),
        ({"max_size": 6143}, False),
        ({"name": "*", "dtype": "F32"}, False),
    ],
    ids=str,
)
def test_every_condition_must_be_met(conditions: dict[str, Any], matches: bool) -> None:
    rule = pp.Rule("skip", **conditions)
    assert rule.matches("model.layers.0.mlp.up_proj.weight", INFO) is matches


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"then": "prune"}, ValueError, r"^then must be a pattern, 'skip' or 'keep dense', got"),
        ({"then": None}, TypeError, r"^then must be an Unstructured"),
        ({"then": "skip", "regex": "("}, ValueError, r"^regex must be a regular expression"),
        ({"then": "skip", "regex": 3}, TypeError, r"^regex must be a string"),
        ({"then": "skip", "name": 3}, TypeError, r"^name must be a string or a list"),
        ({"then": "skip", "dtype": [3]}, TypeError, r"^dtype must be a string or a list"),
        ({"then": "skip", "shape": 3}, TypeError, r"^shape must be a list of numbers"),
        ({"then": "skip", "min_rank": "2"}, TypeError, r"^min_rank must be an int"),
    ],
)
def test_bad_rules(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pp.Rule(**arguments)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, r"^rules must be a pattern .* got int$"),
        ("*.weight", r"^rules must be a pattern .* got str$"),
        ([NM], r"^rules must hold Rule objects only, got NM$"),
    ],
)
def test_what_is_no_rule(model: Path, out: Path, given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        pp.prune_checkpoint(model, out, given)


# --- all of them ------------------------------------------------------------------------------


def test_the_first_match_decides(model: Path, out: Path) -> None:
    rules = [
        pp.Rule("skip", name="*.0.*up*"),
        pp.Rule(pp.NM(3, 4), regex="up_proj"),
        pp.Rule(HALF, name="*.mlp.*"),
    ]
    report = pp.prune_checkpoint(model, out, rules)
    assert patterns(report) == {
        LINEARS[2]: "3:4 (75 % sparse)",
        LINEARS[1]: "unstructured 50 %",
        LINEARS[3]: "unstructured 50 %",
    }
    notes = {t.name: t.note for t in report.tensors}
    assert notes[LINEARS[0]] == "rule 1 (*.0.*up*)"
    assert notes[LINEARS[1]] == "rule 3 (*.mlp.*)"
    assert notes["model.position_ids"] == "dtype I64"
    assert notes["model.embed_tokens.weight"] == "embedding"
    assert pp.verify_checkpoint(out, rules).ok


def test_rules_come_before_the_defaults(model: Path, out: Path) -> None:
    rules = pp.Rules([pp.Rule(HALF, name="*embed*")], otherwise=NM)
    report = pp.prune_checkpoint(model, out, rules)
    names = {"model.embed_tokens.weight": "unstructured 50 %"}
    assert patterns(report) == names | dict.fromkeys(LINEARS, "2:4 (50 % sparse)")


def test_include_and_exclude_come_before_the_rules(model: Path, out: Path) -> None:
    rules = [pp.Rule(HALF)]
    report = pp.prune_checkpoint(model, out, rules, include=["*.mlp.*"], exclude=["*.1.*"])
    assert patterns(report).keys() == {*LINEARS[:2]}


def test_all_prunes_what_the_defaults_skip(model: Path, out: Path) -> None:
    report = pp.prune_checkpoint(model, out, NM, defaults=False)
    assert patterns(report).keys() == {*LINEARS, "model.embed_tokens.weight", "lm_head.weight"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.embed_tokens.weight", "embedding"),
        ("bert.embeddings.word_embeddings.weight", "embedding"),
        ("transformer.wte.weight", "embedding"),
        ("wpe.weight", "embedding"),
        ("shared.weight", "embedding"),
        ("lm_head.weight", "output head"),
        ("output.weight", "output head"),
        ("encoder.final_layer_norm.weight", "norm"),
        ("h.0.ln_1.weight", "norm"),
        ("a.bias", "bias"),
        ("encoder.layer.0.attention.output.dense.weight", None),
        ("model.layers.0.mlp.gate_proj.weight", None),
        ("h.0.attn.c_attn.weight", None),
    ],
)
def test_names_of_what_is_not_pruned(
    tmp_path: Path, out: Path, name: str, kind: str | None
) -> None:
    pp.save_file({name: np.ones((64, 64), np.float32)}, tmp_path / "in.safetensors")
    path = out.with_suffix(".safetensors")
    report = pp.prune_checkpoint(tmp_path / "in.safetensors", path, NM)
    assert (report.tensors[0].action, report.tensors[0].note) == (
        ("pruned", None) if kind is None else ("unchanged", kind)
    )


def test_skip_and_keep_dense(model: Path, out: Path, tmp_path: Path) -> None:
    pp.prune_checkpoint(model, out, NM)
    rules = [pp.Rule("skip", name="*.0.*"), pp.Rule("keep dense", name="*.1.*")]
    pp.prune_checkpoint(out, tmp_path / "again", rules)
    found = {t.name: t for t in pp.inspect_checkpoint(tmp_path / "again").tensors}
    assert [found[name].packed for name in LINEARS] == [True, True, False, False]
    assert found[LINEARS[0]].recorded == "2:4 (50 % sparse)"
    wanted = pruned(transformer(), NM, LINEARS)
    actual = tensors_of(tmp_path / "again")
    assert all(same_bits(actual[name], wanted[name]) for name in wanted)


def test_include_of_what_is_never_pruned_is_an_error(model: Path, out: Path) -> None:
    for glob, why in (("*embed*", "embedding"), ("*ids", "dtype I64"), ("*norm*", "rank 1")):
        message = rf"^include '{glob}' matches only tensors that are left alone: {why}$"
        with pytest.raises(ValueError, match=message.replace("*", r"\*")):
            pp.prune_checkpoint(model, out, NM, include=[glob, "*.mlp.*"])


def test_rule_that_matches_nothing_is_noted(model: Path, out: Path) -> None:
    report = pp.prune_checkpoint(model, out, [pp.Rule(NM, name="*.mpl.*")])
    assert report.notes == ("rule 1 (*.mpl.*) matches no tensor",)


def test_verify_tells_the_rule(model: Path, out: Path) -> None:
    pp.prune_checkpoint(model, out, NM)
    report = pp.verify_checkpoint(
        out, [pp.Rule(pp.NM(3, 4), name="*.0.*up*"), pp.Rule(NM, name="*mlp*")]
    )
    broken = [t for t in report.tensors if not t.ok]
    assert [(t.name, t.rule, t.pattern, t.first) for t in broken] == [
        (LINEARS[0], 1, "3:4 (75 % sparse)", (0, 0))
    ]


# --- TOML -------------------------------------------------------------------------------------

TOML = """
sparsity = 0.5
scope = "row"

[[rule]]
name = "*.layers.0.*"
min_rank = 2
nm = "3:4"

[[rule]]
regex = "down"
shape = ["*", 96]
dtype = ["BF16", "F16"]
block = "4x1"
sparsity = 0.25
norm = "l1"

[[rule]]
name = ["lm_head.*", "x"]
then = "keep dense"

[[rule]]
max_size = 9
threshold = 0.1
"""


def test_rules_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(TOML)
    assert pp.load_rules(path) == pp.Rules(
        (
            pp.Rule(pp.NM(3, 4), name="*.layers.0.*", min_rank=2),
            pp.Rule(
                pp.Block((4, 1), 0.25, norm="l1"),
                regex="down",
                shape=(None, 96),
                dtype=["BF16", "F16"],
            ),
            pp.Rule("keep dense", name=["lm_head.*", "x"]),
            pp.Rule(pp.Threshold(0.1), max_size=9),
        ),
        pp.Unstructured(0.5, scope="row"),
    )


def test_command_with_rules(
    model: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("[[rule]]\nname = '*.0.*'\nnm = '3:4'\n")
    words = ["prune", str(model), str(out), "--rules", str(rules)]
    assert main([*words, "--nm", "2:4", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rules"] == "1 rule, otherwise 2:4 (50 % sparse)"
    by_name = {t["name"]: t["pattern"] for t in report["tensors"]}
    assert [by_name[name][:3] for name in LINEARS] == ["3:4", "3:4", "2:4", "2:4"]
    assert main(["verify", str(out), "--rules", str(rules), "--nm", "2:4"]) == 0
    assert main(["verify", str(model), "--rules", str(rules)]) == 1
    assert "up_proj.weight (rule 1): 1536 of 1536 groups" in capsys.readouterr().out
    assert main([*words[:3], "--rules", "gone.toml"]) == 1
    assert main([*words, "--scope", "row"]) == 2


# --- dry runs and sizes -----------------------------------------------------------------------

EXACT: list[Pattern] = [NM, pp.NM(7, 8), pp.Unstructured(0.75), pp.Unstructured(0.3, scope="row")]


@pytest.mark.parametrize("pattern", [*EXACT, pp.Block((4, 1), 0.5), pp.Threshold(0.7)], ids=str)
@pytest.mark.parametrize("packed", ["packed", "dense", "sparse-bitmask"])
def test_dry_run_predicts_every_byte(model: Path, out: Path, pattern: Pattern, packed: Any) -> None:
    before = contents(model)
    dry = pp.prune_checkpoint(model, None, pattern, format=packed, dry_run=True)
    assert contents(model) == before
    assert not out.exists()
    real = pp.prune_checkpoint(model, out, pattern, format=packed)
    assert dry.bytes_after == real.bytes_after
    for planned, done in zip(dry.tensors, real.tensors, strict=True):
        assert (planned.name, planned.action, planned.packed, planned.pattern, planned.note) == (
            (done.name, done.action, done.packed, done.pattern, done.note)
        )
        assert planned.bytes_after == done.bytes_after
        assert planned.exact


@pytest.mark.parametrize("name", ["out.safetensors", "out"])
def test_dry_run_of_a_file(tmp_path: Path, name: str) -> None:
    pp.save_file(transformer(), tmp_path / "in.safetensors")
    more: Any = {} if "." in name else {"max_shard_size": 30_000}
    source = tmp_path / "in.safetensors"
    dry = pp.prune_checkpoint(source, tmp_path / name, NM, dry_run=True, **more)
    assert not (tmp_path / name).exists()
    real = pp.prune_checkpoint(source, tmp_path / name, NM, **more)
    assert dry.bytes_after == real.bytes_after


def test_dry_run_says_where_it_only_estimates(tmp_path: Path) -> None:
    source = tmp_path / "in.safetensors"
    pp.save_file({"w": np.ones((65, 64), np.float32)}, source)  # the last tile is smaller
    dry = pp.prune_checkpoint(source, None, pp.Block((4, 1), 0.9), dry_run=True)
    assert not dry.tensors[0].exact
    real = pp.prune_checkpoint(source, tmp_path / "out.safetensors", pp.Block((4, 1), 0.9))
    assert abs(dry.bytes_after - real.bytes_after) < 1000


def test_dry_run_of_packing_looks_at_the_weights(model: Path, out: Path, tmp_path: Path) -> None:
    pp.prune_checkpoint(model, out, NM, format="dense")
    dry = pp.pack_checkpoint(out, None, dry_run=True)
    real = pp.pack_checkpoint(out, tmp_path / "packed")
    assert dry.bytes_after == real.bytes_after < pp.inspect_checkpoint(out).nbytes
    dry = pp.unpack_checkpoint(tmp_path / "packed", None, dry_run=True)
    assert dry.bytes_after == pp.unpack_checkpoint(tmp_path / "packed", tmp_path / "d").bytes_after


def test_without_a_target_only_a_dry_run(model: Path) -> None:
    with pytest.raises(TypeError, match=r"^dst must be the file or folder to write, got None"):
        pp.prune_checkpoint(model, None, NM)


@pytest.mark.parametrize("limit", [50_000, 60_000, 70_000])
def test_target_size_is_met_as_closely_as_can_be(model: Path, out: Path, limit: int) -> None:
    report = pp.prune_checkpoint(model, out, target_size=limit)
    assert sum(map(len, contents(out).values())) == report.bytes_after <= limit
    # A hundredth of a percent less would not do, give or take one weight of each tensor.
    assert limit - report.bytes_after < 4 * 2 * 3
    assert len({t.pattern for t in report.tensors if t.pattern}) == 1
    assert report.rules is not None
    assert report.rules.startswith("unstructured ")


def test_target_size_leaves_alone_what_rules_are_about(model: Path, out: Path) -> None:
    rules = [pp.Rule(pp.NM(1, 4), name=LINEARS[0])]
    report = pp.prune_checkpoint(model, out, rules, target_size=60_000)
    found = patterns(report)
    assert found[LINEARS[0]] == "1:4 (25 % sparse)"
    assert report.bytes_after <= 60_000
    assert len({found[name] for name in LINEARS[1:]}) == 1


def test_target_size_that_needs_nothing(model: Path, out: Path) -> None:
    report = pp.prune_checkpoint(model, out, target_size=10**9)
    assert report.rules == "unstructured 0 %"


def test_target_size_that_cannot_be_met(model: Path, out: Path) -> None:
    message = r"^target_size must be at least \d+ bytes, which is what is left when every weight"
    with pytest.raises(ValueError, match=message) as raised:
        pp.prune_checkpoint(model, out, target_size=1000)
    assert not out.exists()
    least = int(str(raised.value).split()[5])
    assert pp.prune_checkpoint(model, out, target_size=least).bytes_after <= least


def test_target_size_and_a_pattern(model: Path, out: Path) -> None:
    with pytest.raises(ValueError, match="must have no pattern for all weights"):
        pp.prune_checkpoint(model, out, NM, target_size=10**6)


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [("3GB", 3 * 10**9), ("512MiB", 2**29), ("1.5 kB", 1500), ("7", 7), ("2g", 2 * 10**9)],
)
def test_sizes(text: str, nbytes: int) -> None:
    assert _words.size(text) == nbytes


@pytest.mark.parametrize("text", ["", "GB", "-1", "3 XB", "1e9", "3iB", "9" * 99])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a size such as 3GB"):
        _words.size(text)


def test_dry_run_of_the_command(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", str(model), "--nm", "2:4", "--dry-run"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{LINEARS[0]} 96x64 BF16 2:4 (50 % sparse) 12.3 kB 7.70 kB" in shown
    assert "not pruned: 1 embedding, 1 rank 1, 1 dtype I64, 1 output head; --all" in shown
    assert "dry run: nothing was written;" in shown
    assert [path.name for path in model.parent.iterdir()] == ["model"]
