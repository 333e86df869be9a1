"""A linear layer as an object: called, pickled, copied, saved and loaded."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

import prunepack as pp
from samples import same_bits, sparse_matrix

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

INT8, BFLOAT16 = np.dtype(np.int8), np.dtype(ml_dtypes.bfloat16)


def layer_of(
    dtype: np.dtype[Any] = INT8, activations: str | None = "int8", pattern: str = "3:4"
) -> pp.PackedLinear:
    random = np.random.default_rng(2)
    weight = pp.pack(sparse_matrix(pattern, dtype, (20, 32)))
    bias = random.standard_normal(20).astype(BFLOAT16)
    scales = random.random(20, np.float32)
    return pp.PackedLinear(weight, bias, scales, activations)


def x_of(batch: int = 3) -> npt.NDArray[np.float32]:
    return np.random.default_rng(3).standard_normal((batch, 32), np.float32)


def test_call_is_linear() -> None:
    layer, x = layer_of(), x_of()
    y = pp.linear(x, layer.weight, layer.bias, scales=layer.scales, activations=layer.activations)
    assert same_bits(layer(x), y)
    out = np.empty_like(y)
    assert layer(x, out, num_threads=2) is out
    assert same_bits(out, y)


def test_attributes() -> None:
    layer = layer_of()
    assert (layer.in_features, layer.out_features) == (32, 20)
    assert layer.activations == "int8"
    assert layer.nbytes == layer.weight.nbytes + 20 * 2 + 20 * 4
    assert repr(layer) == (
        "PackedLinear(in_features=32, out_features=20, dtype=int8, "
        f"sparsity={layer.weight.sparsity:.3g}, scales, bias, activations='int8')"
    )
    assert repr(pp.PackedLinear(pp.pack(np.eye(4, dtype=np.float32)))) == (
        "PackedLinear(in_features=4, out_features=4, dtype=float32, sparsity=0.75)"
    )


def test_pickle_and_copies() -> None:
    layer, x = layer_of(), x_of()
    y = layer(x)
    for again in (pickle.loads(pickle.dumps(layer)), copy.copy(layer), copy.deepcopy(layer)):
        assert again.weight == layer.weight
        assert same_bits(again(x), y)


@pytest.mark.parametrize("name", ["", "encoder.fc"])
@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_save_and_load(tmp_path: Path, name: str, suffix: str) -> None:
    layer, x = layer_of(), x_of()
    path = tmp_path / f"layer{suffix}"
    pp.save_file(layer.to_tensors(name), path)
    again = pp.PackedLinear.from_tensors(pp.load_file(path), name, activations="int8")
    assert again.weight == layer.weight
    assert again.bias is not None
    assert again.bias.dtype == BFLOAT16
    assert same_bits(again(x), layer(x))
    bare = pp.PackedLinear(layer.weight)
    pp.save_file(bare.to_tensors(name), path)
    again = pp.PackedLinear.from_tensors(pp.load_file(path), name)
    assert again.bias is again.scales is None


def test_names_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "layer.safetensors"
    layer = pp.PackedLinear(layer_of().weight, scales=np.ones(20, np.float32))
    pp.save_file(layer.to_tensors("fc"), path)
    assert set(safetensors.numpy.load_file(path)) == {
        "fc.bitmask",
        "fc.compressed",
        "fc.row_offsets",
        "fc.shape",
        "fc.weight_scale",
    }


def test_layers_among_other_tensors() -> None:
    layer, x = layer_of(), x_of()
    tensors = {**layer.to_tensors("a"), **layer_of(pattern="50 %").to_tensors("b")}
    assert same_bits(pp.PackedLinear.from_tensors(tensors, "a", activations="int8")(x), layer(x))


def test_from_dense_weight_and_scales_as_a_column() -> None:
    layer, x = layer_of(), x_of()
    assert layer.scales is not None
    tensors = {
        "weight": layer.weight.to_dense(),
        "bias": layer.bias,
        "weight_scale": layer.scales[:, np.newaxis],
    }
    again = pp.PackedLinear.from_tensors(tensors, activations="int8")
    assert same_bits(again(x), layer(x))


def test_parts_that_do_not_fit() -> None:
    weight = layer_of().weight
    with pytest.raises(TypeError, match="weight must be a PackedTensor, got ndarray; see pack"):
        pp.PackedLinear(weight.to_dense())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"bias must have shape \(20,\)"):
        pp.PackedLinear(weight, np.ones(19, np.float32))
    with pytest.raises(TypeError, match="scales must be float32"):
        pp.PackedLinear(weight, scales=np.ones(20, np.int32))
    with pytest.raises(TypeError, match="activations of bfloat16 must go with"):
        pp.PackedLinear(weight, activations="bfloat16")
    with pytest.raises(ValueError, match=r"tensors must have 'fc.weight'"):
        pp.PackedLinear.from_tensors({"weight": weight}, "fc")
