"""Packed linear layers in torch models. Skipped without torch; failed if it is required."""

from __future__ import annotations

import copy
import gc
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import prunepack as pp
import reference
from samples import assert_within, same_bits, sparse_matrix

if os.environ.get("PRUNEPACK_REQUIRE_TORCH"):
    import torch
else:
    torch = pytest.importorskip("torch", reason="torch is not installed")

import safetensors.torch

from prunepack.torch import PackedLinear, load_packed, pack_module

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
PATTERN = pp.NM(3, 4)


@pytest.fixture(autouse=True)
def _inference() -> Any:
    with torch.inference_mode():
        yield


def dense_layer(inputs: int = 64, outputs: int = 48, bias: bool = True, dtype: Any = None) -> Any:
    torch.manual_seed(0)
    return torch.nn.Linear(inputs, outputs, bias, dtype=dtype)


class Model(torch.nn.Module):  # type: ignore[misc]
    """An embedding, two layers, one of them twice, and a head tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embed = torch.nn.Embedding(100, 64)
        self.first = torch.nn.Linear(64, 64)
        self.again = self.first
        self.blocks = torch.nn.Sequential(
            torch.nn.Linear(64, 96, bias=False), torch.nn.GELU(), torch.nn.Linear(96, 64)
        )
        self.norm = torch.nn.LayerNorm(64)
        self.tiny = torch.nn.Linear(64, 3)
        self.head = torch.nn.Linear(64, 100, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Any) -> Any:
        x = self.again(self.first(self.embed(tokens)))
        x = self.norm(self.blocks(x))
        return self.tiny(x), self.head(x)


def tokens() -> Any:
    return torch.arange(30).reshape(3, 10)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return all(map(same, a, b))
    return bool(torch.equal(a, b))


def pruned_dense(layer: Any, pattern: Any = PATTERN) -> Any:
    twin = copy.deepcopy(layer)
    twin.weight.copy_(torch.from_dlpack(pp.prune(twin.weight.detach().float(), pattern)))
    return twin


# The module.


@pytest.mark.parametrize("weights", FLOATS, ids=str)
@pytest.mark.parametrize("inputs", FLOATS, ids=str)
@pytest.mark.parametrize("lead", [(), (1,), (5,), (2, 3), (0,)], ids=str)
def test_forward(weights: Any, inputs: Any, lead: tuple[int, ...]) -> None:
    layer = dense_layer(dtype=weights)
    packed = PackedLinear.from_linear(layer, PATTERN)
    x = torch.randn(*lead, 64).to(inputs)
    y = packed(x)
    assert y.dtype == inputs
    assert y.shape == (*lead, 48)
    w, bias = (t.float().numpy() for t in (packed.to_dense(), layer.bias))
    exact, bound = reference.linear(x.reshape(-1, 64).float().numpy(), w, bias)
    rounding = 0 if inputs == torch.float32 else np.abs(exact) * torch.finfo(inputs).eps + 1e-7
    assert_within(y.reshape(-1, 48).float().numpy(), exact, bound + rounding)


def test_forward_without_bias_and_of_strided_input() -> None:
    layer = PackedLinear.from_linear(dense_layer(bias=False), PATTERN)
    x = torch.randn(64, 7)
    assert layer.bias is None
    assert same(layer(x.T), layer(x.T.contiguous()))


def test_int8_with_scales() -> None:
    w, x = sparse_matrix("50 %", np.dtype(np.int8), (48, 64)), torch.randn(5, 64)
    scales, bias = torch.rand(48), torch.randn(48)
    for activations in (None, "int8"):
        layer = PackedLinear(pp.pack(w), bias, scales, activations)
        exact = reference.linear(
            x.numpy(), w, bias.numpy(), scales.numpy(), activations or "float32"
        )
        assert_within(layer(x).numpy(), *exact)
        assert layer.state_dict().keys() >= {"weight_scale", "bias"}


def test_bfloat16_activations_are_free_where_the_input_is_bfloat16() -> None:
    layer = PackedLinear.from_linear(dense_layer(dtype=torch.bfloat16), PATTERN)
    x = torch.randn(3, 64).bfloat16()
    rounded = PackedLinear(layer.packed, layer.bias, activations="bfloat16")
    assert same(layer(x), rounded(x.float()).bfloat16())


def test_as_many_threads_as_torch_has(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def multiply(*arguments: Any, openmp: bool) -> None:
        asked.append((arguments[-1], openmp))

    monkeypatch.setattr(pp.PreparedMatrix, "_multiply", multiply)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    PackedLinear.from_linear(dense_layer())(torch.randn(64))
    assert asked == [(3, True)]


FORK = """
import os
import torch
from prunepack.torch import PackedLinear

torch.set_num_threads(2)
with torch.inference_mode():
    layer, x = PackedLinear.from_linear(torch.nn.Linear(2000, 1000)), torch.randn(4, 2000)
    y = layer(x)
    torch.nn.functional.linear(torch.randn(500, 500), torch.randn(500, 500))
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(layer(x), y) else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_wait_for_threads_of_torch() -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert result.stdout == "0\n", result.stderr


def test_the_same_bits_on_any_number_of_threads() -> None:
    layer, x = PackedLinear.from_linear(torch.nn.Linear(2000, 1000), PATTERN), torch.randn(4, 2000)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = layer(x)
        for threads in (2, 3, 5):
            torch.set_num_threads(threads)
            assert same(layer(x), alone)
    finally:
        torch.set_num_threads(before)


def test_a_gradient_is_refused() -> None:
    with torch.inference_mode(False):
        layer = PackedLinear.from_linear(dense_layer())
        x = torch.randn(2, 64, requires_grad=True)
        with pytest.raises(RuntimeError, match=r"must not require a gradient.*inference_mode\(\)"):
            layer(x)
        with torch.no_grad():
            assert not layer(x).requires_grad
        assert not layer(x.detach()).requires_grad
        assert list(layer.parameters()) == []


def test_other_devices_and_dtypes_are_refused() -> None:
    layer = PackedLinear.from_linear(dense_layer())
    with pytest.raises(RuntimeError, match=r"x must be on the CPU.*got meta"):
        layer(torch.empty(64, device="meta"))
    with pytest.raises(TypeError, match=r"x must be float32.*got torch\.float64"):
        layer(torch.ones(64, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"x must be float32.*got torch\.int8"):
        layer(torch.ones(64, dtype=torch.int8))
    with pytest.raises(ValueError, match="x must have the 64 inputs"):
        layer(torch.ones(63))
    with pytest.raises(RuntimeError, match=r"PackedLinear must stay on the CPU.*got meta"):
        layer.to("meta")
    with pytest.raises(TypeError, match=r"PackedLinear must be float32.*got torch\.float64"):
        layer.double()
    with pytest.raises(AttributeError, match=r"has no weight.*exclude="):
        layer.weight  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        layer.nonsense  # noqa: B018
    assert layer(torch.ones(64)).shape == (48,)


def test_to_the_cpu_and_to_other_dtypes() -> None:
    layer, x = PackedLinear.from_linear(dense_layer(), PATTERN), torch.randn(3, 64)
    y = layer(x)
    assert same(layer.to("cpu")(x), y)
    half = copy.deepcopy(layer).to(torch.bfloat16)
    assert half.packed.dtype == ml_dtypes.bfloat16
    assert half.bias.dtype == torch.bfloat16
    expected = pruned_dense(dense_layer()).to(torch.bfloat16)(x.bfloat16())
    assert torch.allclose(half(x.bfloat16()).float(), expected.float(), atol=2e-2)
    assert "dtype=bfloat16, sparsity=0.75" in repr(half)


@pytest.mark.filterwarnings("ignore")  # of torch's own, from one version to the next
def test_compiled() -> None:
    model, other = (torch.nn.Sequential(dense_layer(64, 64), torch.nn.GELU()) for _ in range(2))
    pack_module(model, PATTERN)
    pack_module(other, pp.NM(2, 4))
    torch.compiler.reset()
    for each in (model, other, copy.deepcopy(model)):
        compiled = torch.compile(each, fullgraph=True, backend="eager")
        for x in (torch.randn(3, 64), torch.randn(5, 64), torch.randn(2, 3, 64).bfloat16()):
            assert same(compiled(x), each(x))
    with torch.inference_mode(False), torch.no_grad():
        graph = torch.export.export(model, (torch.randn(3, 64),)).module()
        x = torch.randn(3, 64)
        assert same(graph(x), model(x))
        del model, each
        gc.collect()
        with pytest.raises(RuntimeError, match="must be in this process, where the graph was made"):
            graph(x)


@pytest.mark.filterwarnings("ignore")
def test_a_trace_is_refused() -> None:
    with pytest.raises(RuntimeError, match="PackedLinear must not be traced"):
        torch.jit.trace(PackedLinear.from_linear(dense_layer()), torch.randn(3, 64))


def test_copies_and_pickle() -> None:
    layer, x = PackedLinear.from_linear(dense_layer(), PATTERN), torch.randn(3, 64)
    y = layer(x)
    saved = io.BytesIO()
    torch.save(layer, saved)
    saved.seek(0)
    for twin in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(saved, weights_only=False),
    ):
        assert same(twin(x), y)
        assert same(twin.to_dense(), layer.to_dense())
        assert twin.compressed.data_ptr() != layer.compressed.data_ptr()


def test_nothing_is_copied_but_what_may_not_be_written(tmp_path: Path) -> None:
    packed = pp.pack(sparse_matrix("3:4", np.dtype(np.float32), (48, 64)))
    layer = PackedLinear(packed)
    assert layer.compressed.data_ptr() == packed.values.ctypes.data
    assert layer.bitmask.data_ptr() == packed.mask.ctypes.data
    pp.save_file({"fc.weight": packed}, tmp_path / "fc.safetensors")
    mapped: Any = pp.load_file(tmp_path / "fc.safetensors")["fc.weight"]
    layer = PackedLinear(mapped)
    assert layer.compressed.data_ptr() != mapped.values.ctypes.data
    layer.compressed.mul_(2)


# Whole models.


@pytest.mark.parametrize(
    "pattern", [PATTERN, pp.Unstructured(0.75), pp.Block((4, 1), 0.5)], ids=repr
)
def test_pack_module(pattern: Any) -> None:
    model = Model()
    dense = copy.deepcopy(model)
    for name in ("first", "blocks.0", "blocks.2"):
        layer = dense.get_submodule(name)
        layer.load_state_dict(pruned_dense(layer, pattern).state_dict())
    report = pack_module(model, pattern)
    assert report.packed == ("first", "blocks.0", "blocks.2")
    notes = {layer.name: layer.note for layer in report.layers if not layer.packed}
    assert notes == {"tiny": "fewer than 2,048 weights", "head": "shares its weight with embed"}
    assert model.again is model.first
    assert model.head.weight is model.embed.weight
    for ours, theirs in zip(model(tokens()), dense(tokens()), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)


def test_report() -> None:
    model = Model()
    report = pack_module(model, PATTERN, exclude=["blocks.*"])
    first = report.layers[0]
    assert (first.name, first.shape, first.dtype) == ("first", (64, 64), "float32")
    assert first.sparsity == 0.75
    assert first.bytes_before == 64 * 64 * 4
    assert first.bytes_after == model.first.packed.nbytes
    assert report.bytes_before - report.bytes_after == first.bytes_before - first.bytes_after
    assert str(report).startswith("1 of 5 linear layers packed: ")
    assert "  blocks.0: excluded\n" in str(report)


def test_include_and_exclude() -> None:
    report = pack_module(Model(), PATTERN, include=["blocks.*", "again"], exclude=["*.2"])
    assert report.packed == ("first", "blocks.0")
    with pytest.raises(ValueError, match=r"include 'mlp.\*' matches none of the 6 linear layers"):
        pack_module(Model(), PATTERN, include=["mlp.*"])
    with pytest.raises(TypeError, match=r"exclude must be an iterable of globs.*write \['head'\]"):
        pack_module(Model(), PATTERN, exclude="head")


def test_layers_that_checkpoints_leave_dense_stay_so() -> None:
    def model() -> Any:
        names = ("body", "lm_head", "embed_projection")
        return torch.nn.ModuleDict({name: dense_layer() for name in names})

    report = pack_module(model(), PATTERN)
    notes = {layer.name: layer.note for layer in report.layers}
    assert notes == {"body": None, "lm_head": "output head", "embed_projection": "embedding"}
    assert pack_module(model(), PATTERN, include=["lm_head"]).packed == ()
    assert len(pack_module(model(), PATTERN, defaults=False).packed) == 3


def test_what_is_no_model() -> None:
    with pytest.raises(ValueError, match="must hold its linear layers"):
        pack_module(dense_layer())
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module, got list"):
        pack_module([dense_layer()])


def test_zeros_that_are_there_already() -> None:
    model = torch.nn.Sequential(pruned_dense(dense_layer()), dense_layer(48, 64))
    x = torch.randn(3, 64)
    y = model(x)
    report = pack_module(model)
    assert report.packed == ("0",)
    assert report.layers[1].note == "packing would not make it smaller"
    assert torch.allclose(model(x), y, atol=1e-5)
    assert pack_module(model, even_if_larger=True).packed == ("1",)
    assert pack_module(model).layers == ()


def test_what_packing_would_not_shrink_is_pruned_all_the_same() -> None:
    model = torch.nn.Sequential(dense_layer())
    weight = model[0].weight.clone()
    report = pack_module(model, pp.Unstructured(0.01))
    assert report.layers[0].note == "packing would not make it smaller"
    assert same_bits(model[0].weight.numpy(), pp.prune(weight.numpy(), pp.Unstructured(0.01)))


def test_masks_of_torch_are_packed() -> None:
    with torch.inference_mode(False):
        model = torch.nn.Sequential(dense_layer())
        torch.nn.utils.prune.l1_unstructured(model[0], "weight", 0.5)
    x = torch.randn(3, 64)
    y = model(x)
    assert pack_module(model).packed == ("0",)
    assert torch.allclose(model(x), y, atol=1e-5)
    assert set(model.state_dict()) == {
        "0.bias",
        "0.bitmask",
        "0.compressed",
        "0.row_offsets",
        "0.shape",
    }


def test_layers_that_share_a_weight_with_each_other() -> None:
    model = torch.nn.Sequential(dense_layer(64, 64), dense_layer(64, 64))
    model[1].weight = model[0].weight
    report = pack_module(model, PATTERN)
    assert report.packed == ("0", "1")
    assert model[0].packed is model[1].packed
    assert model[0].compressed.data_ptr() == model[1].compressed.data_ptr()
    model[0].bias.zero_()
    assert not same(model[0](torch.ones(64)), model[1](torch.ones(64)))
    model = torch.nn.Sequential(dense_layer(64, 64), dense_layer(64, 64))
    model[1].weight = model[0].weight
    assert pack_module(model, PATTERN, exclude=["1"]).layers[0].note == "shares its weight with 1"


def test_derived_layers_and_hooks_are_left_alone() -> None:
    class Derived(torch.nn.Linear):  # type: ignore[misc]
        pass

    model = torch.nn.Sequential(Derived(64, 64), dense_layer(64, 64), dense_layer(64, 64))
    model[1].register_forward_hook(lambda *_: None)
    model[2].register_forward_pre_hook(lambda *_: None)
    notes = [layer.note for layer in pack_module(model, PATTERN).layers]
    assert notes == ["is a Derived, which may do more than a Linear", "has hooks", "has hooks"]


def test_attention_of_torch_still_works() -> None:
    attention = torch.nn.MultiheadAttention(64, 4, batch_first=True)
    x = torch.randn(2, 5, 64)
    y, _ = attention(x, x, x)
    pack_module(attention, PATTERN)
    assert same(attention(x, x, x)[0], y)


def test_training_mode_is_kept() -> None:
    model = Model().eval()
    pack_module(model, PATTERN)
    assert not model.first.training


# Saving and loading.


def packed_model(pattern: Any = None) -> Any:
    model = Model()
    pack_module(model, pattern or pp.Unstructured(0.75))
    return model


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("swapped", [False, True])
def test_load_into_a_model_built_anew(tmp_path: Path, assign: bool, swapped: bool) -> None:
    model = packed_model()
    y = model(tokens())
    torch.save(model.state_dict(), tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt")
    again = Model()
    if swapped:
        pack_module(again, pp.Unstructured(0.5))  # keeps another number of weights
        again(tokens())
    assert str(load_packed(again, state, assign=assign)) == "<All keys matched successfully>"
    assert same(again(tokens()), y)
    assert isinstance(again.again, PackedLinear)
    assert again.again is again.first
    assert (again.first.compressed.data_ptr() == state["first.compressed"].data_ptr()) == assign


def test_scales_are_loaded() -> None:
    packed = pp.pack(sparse_matrix("50 %", np.dtype(np.int8), (48, 64)))
    layer = torch.nn.Sequential(PackedLinear(packed, torch.randn(48), torch.rand(48)))
    again = torch.nn.Sequential(dense_layer())
    load_packed(again, layer.state_dict())
    x = torch.randn(3, 64)
    assert same(again(x), layer(x))
    state = layer.state_dict()
    state["0.weight_scale"] = torch.rand(47)
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\.weight_scale"):
        load_packed(again, state)


def test_what_cannot_be_packed_is_left_and_told() -> None:
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 64, device="meta"), torch.nn.Linear(64, 64, dtype=torch.float64)
    )
    report = pack_module(model, PATTERN)
    assert [layer.note for layer in report.layers] == ["on meta, not the CPU", "dtype float64"]
    assert [type(layer) for layer in model] == [torch.nn.Linear] * 2
    with pytest.raises(TypeError, match=r"weight must be a prunepack\.PackedTensor, got Linear"):
        PackedLinear(dense_layer())


def test_load_state_dict_into_a_packed_model() -> None:
    model, again = packed_model(), packed_model(pp.NM(2, 4))
    before = again(tokens())
    again.load_state_dict(model.state_dict())
    assert same(again(tokens()), model(tokens()))
    assert not same(again(tokens()), before)


def test_what_does_not_fit_is_refused() -> None:
    model = packed_model()
    before = model(tokens())

    def refused(message: str, **wrong: Any) -> None:
        state = model.state_dict()
        state.update({f"first.{part}": tensor for part, tensor in wrong.items()})
        with pytest.raises(RuntimeError, match=f"first: {message}"):
            packed_model().load_state_dict(state)
        with pytest.raises(RuntimeError, match=f"first: {message}"):
            load_packed(Model(), state)

    first = model.first
    refused("values must have shape", compressed=first.compressed[1:])
    refused("bitmask must be on the CPU, got meta", bitmask=first.bitmask.to("meta"))
    refused(r"shape must be \(64, 64\)", **PackedLinear.from_linear(dense_layer()).state_dict())
    refused("row_offsets must say", row_offsets=first.row_offsets + 1)
    refused("mask must have", bitmask=first.bitmask[:, :-1])
    refused("compressed must be float32.*float64", compressed=first.compressed.double())
    state = model.state_dict()
    del state["first.bitmask"]
    with pytest.raises(RuntimeError, match=r'Missing key.*"first\.bitmask"'):
        packed_model().load_state_dict(state)
    assert same(model(tokens()), before)


def test_files_of_torch_and_of_prunepack_are_the_same(tmp_path: Path) -> None:
    model = packed_model()
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    state = {name: tensor for name, tensor in model.state_dict().items() if "again" not in name}
    del state["head.weight"]
    safetensors.torch.save_file(state, theirs)
    tensors = pp.load_file(theirs)
    assert tensors["first.weight"] == model.first.packed
    pp.save_file(tensors, ours)
    again = Model()
    load_packed(again, safetensors.torch.load_file(ours), strict=False)
    assert same(again(tokens()), model(tokens()))
    layer = pp.PackedLinear.from_tensors(pp.load_file(ours), "first")
    x = np.random.default_rng(0).standard_normal((2, 64), np.float32)
    assert same(torch.from_numpy(layer(x)), again.first(torch.from_numpy(x)))


# Without torch.


def test_prunepack_does_not_import_torch() -> None:
    script = "import sys, prunepack; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
