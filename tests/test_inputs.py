"""What may be handed in as weights, and what is refused and how."""

from __future__ import annotations

import array
import gc
import importlib.util
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import prunepack as pp
from foreign_tensor import CODES, ForeignTensor
from samples import DTYPES, random_bits, same_bits

if TYPE_CHECKING:
    import numpy.typing as npt

HALF = pp.NM(2, 4)
W = np.array([[1, 4, 3, 2], [-8, 5, 6, -7]], np.float32)
PRUNED = [[0, 4, 3, 0], [-8, 0, 0, -7]]


class Tensor:
    """Somebody else's tensor: nothing but the DLPack protocol, lent by NumPy."""

    def __init__(self, lent: npt.NDArray[Any], device: tuple[int, int] = (1, 0)) -> None:
        self._lent = lent
        self._device = device

    def __dlpack__(self, **options: Any) -> Any:
        if self._device[0] != 1:
            msg = "this tensor is not in CPU memory"
            raise BufferError(msg)
        return self._lent.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device


class OldTensor(Tensor):
    """The same, written before version 1 of the protocol: it takes no options but `stream`."""

    def __dlpack__(self, stream: Any = None) -> Any:  # type: ignore[override]
        return self._lent.__dlpack__(stream=stream)


def views(w: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Spell the same values in memory in every way."""
    spaced = np.zeros((2 * w.shape[0], 3 * w.shape[1]), w.dtype)
    spaced[::2, ::3] = w
    turned = np.ascontiguousarray(w[::-1, ::-1])
    unaligned = np.zeros(w.nbytes + 1, np.uint8)[1:].view(w.dtype).reshape(w.shape)
    unaligned[...] = w
    read_only = w.copy()
    read_only.flags.writeable = False
    return {
        "Fortran order": np.asfortranarray(w),
        "spaced": spaced[::2, ::3],
        "negative strides": turned[::-1, ::-1],
        "unaligned": unaligned,
        "read-only": read_only,
        "broadcast": np.broadcast_to(w, (1, *w.shape))[0],
        "subclass": w.view(np.recarray) if w.dtype.kind in "fiu" else w.view(_Subclass),
    }


class _Subclass(np.ndarray[Any, Any]):
    pass


@pytest.mark.parametrize("layout", views(W))
def test_any_layout(dtype: np.dtype[Any], layout: str) -> None:
    w = random_bits(dtype, (6, 21))
    view = views(w)[layout]
    before = view.tobytes()
    for pattern in (HALF, pp.NM(3, 4, axis=0), pp.Unstructured(0.5), pp.Block((2, 3), 0.5)):
        assert pp.prune_mask(view, pattern) == pp.prune_mask(w, pattern)
        assert same_bits(pp.prune(view, pattern), pp.prune(w, pattern))
        mask = pp.prune_mask(w, pattern)
        assert pp.pack(view, mask) == pp.pack(w, mask)
        assert pp.prune_mask(w, pattern, importance=view) == mask
        assert pp.verify(view, pattern) == pp.verify(w, pattern)
    assert pp.pack(view) == pp.pack(w)
    assert view.tobytes() == before


def test_results_are_plain_c_contiguous_arrays() -> None:
    pruned = pp.prune(np.asfortranarray(W).view(_Subclass), HALF)
    assert type(pruned) is np.ndarray
    assert pruned.flags.c_contiguous
    assert pruned.tolist() == PRUNED


def test_zero_strides() -> None:
    w = np.broadcast_to(np.float32(1), (4, 8))
    assert pp.prune_mask(w, HALF).to_bool().tolist() == [[False, False, True, True] * 2] * 4


# DLPack.


@pytest.mark.parametrize("kind", [Tensor, OldTensor])
@pytest.mark.parametrize("name", ["int8", "uint8", "float16", "float32", "float64"])
def test_dlpack(kind: type[Tensor], name: str) -> None:
    w = W.astype(np.int8).astype(name)
    tensor: Any = kind(w)
    assert same_bits(pp.prune(tensor, HALF), pp.prune(w, HALF))
    assert pp.pack(tensor) == pp.pack(w)
    assert pp.prune_mask(W, HALF, importance=tensor) == pp.prune_mask(W, HALF, importance=w)


def test_dlpack_of_any_layout() -> None:
    for layout in ("Fortran order", "spaced", "negative strides"):
        tensor: Any = Tensor(views(W)[layout])
        assert pp.prune(tensor, HALF).tolist() == PRUNED


def test_dlpack_of_nothing() -> None:
    tensor: Any = Tensor(np.zeros((0, 4), np.float32))
    assert pp.pack(tensor).shape == (0, 4)
    scalar: Any = Tensor(np.array(2, np.float32))
    assert pp.pack(scalar).shape == ()


def test_dlpack_into_out() -> None:
    """A tensor of another library is filled in its own memory."""
    memory = np.zeros((2, 4), np.float32)
    tensor: Any = Tensor(memory)
    pp.prune(W, HALF, out=tensor)
    assert memory.tolist() == PRUNED


def test_dlpack_on_another_device() -> None:
    tensor: Any = Tensor(W, device=(2, 0))
    with pytest.raises(ValueError, match="w must be in CPU memory"):
        pp.prune(tensor, HALF)


@pytest.mark.parametrize("device", [(), 3, None, (1, 0, 0)])
def test_dlpack_device_that_is_none(device: Any) -> None:
    with pytest.raises(TypeError, match="w must have a DLPack device of type and id, got"):
        pp.prune(Tensor(W, device), HALF)


def test_dlpack_of_another_dtype() -> None:
    tensor: Any = Tensor(np.ones((2, 4), np.int64))
    with pytest.raises(TypeError, match=r"w must have one of the dtypes .*, got int64"):
        pp.prune(tensor, HALF)


def test_dlpack_lends_without_a_copy_and_lets_go() -> None:
    import sys

    w = np.ones((64, 64), np.float32)
    before = sys.getrefcount(w)
    for _ in range(100):
        tensor: Any = Tensor(w)
        pp.prune(tensor, HALF)
    del tensor
    assert sys.getrefcount(w) == before


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_dlpack_of_types_that_numpy_cannot_lend(name: str, versioned: bool) -> None:
    """A torch tensor of bfloat16, say, spelt in bytes."""
    w = W.astype(name)
    tensor: Any = ForeignTensor(w, CODES[name], versioned=versioned)
    assert same_bits(pp.prune(tensor, HALF), pp.prune(w, HALF))
    assert pp.pack(tensor) == pp.pack(w)
    del tensor
    gc.collect()
    assert ForeignTensor.lent == 0


def test_dlpack_with_strides_and_offset() -> None:
    """Strides count elements, and the data begin some bytes behind the pointer."""
    room = np.zeros(64, np.float32)
    w = room[5:53].reshape(6, 8)[::2, ::2]
    w[...] = np.arange(-6, 6).reshape(3, 4)
    for view in (w, w.T, w[::-1], w[:0]):
        tensor: Any = ForeignTensor(view, (2, 32), offset=4)
        assert pp.pack(tensor) == pp.pack(view.copy())


@pytest.mark.parametrize(
    ("code", "lanes"), [((4, 16), 2), ((1, 4), 1), ((9, 8), 1), ((17, 4), 1)], ids=str
)
def test_dlpack_of_types_that_are_no_weights(code: tuple[int, int], lanes: int) -> None:
    """Pairs in one element, half bytes, and kinds of float8 that cannot be pruned."""
    tensor: Any = ForeignTensor(np.zeros((2, 4), np.uint8), code, lanes=lanes)
    with pytest.raises(
        TypeError, match=r"w must have one of the dtypes|elements must be whole bytes"
    ):
        pp.prune(tensor, HALF)
    del tensor
    gc.collect()
    assert ForeignTensor.lent == 0


def test_dlpack_that_points_nowhere() -> None:
    tensor: Any = ForeignTensor(np.zeros((2, 4), np.float32), (2, 32), nowhere=True)
    with pytest.raises(ValueError, match="must have memory, got a null pointer"):
        pp.pack(tensor)
    empty: Any = ForeignTensor(np.zeros((2, 0), np.float32), (2, 32), nowhere=True)
    assert pp.pack(empty).shape == (2, 0)
    del tensor, empty
    gc.collect()
    assert ForeignTensor.lent == 0


def test_dlpack_that_is_read_only_is_no_out() -> None:
    """Version 1 of the protocol says so; nothing may be written there."""
    memory = np.zeros((2, 4), np.float32)
    memory.flags.writeable = False
    tensor: Any = ForeignTensor(memory, (2, 32), versioned=True)
    with pytest.raises(ValueError, match="out must be writable"):
        pp.prune(W, HALF, out=tensor)
    assert pp.pack(tensor).kept == 0


class Broken:
    """Says it speaks the protocol, and answers with something else."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __dlpack__(self, **_: Any) -> Any:
        return self._answer

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


@pytest.mark.parametrize("answer", [None, 5, "capsule"])
def test_dlpack_that_answers_nonsense(answer: Any) -> None:
    broken: Any = Broken(answer)
    with pytest.raises(TypeError, match="__dlpack__ must return a capsule"):
        pp.prune(broken, HALF)


def test_a_capsule_is_used_once() -> None:
    capsule = W.__dlpack__()
    broken: Any = Broken(capsule)
    assert pp.prune(broken, HALF).tolist() == PRUNED
    with pytest.raises(TypeError, match="__dlpack__ must return a capsule"):
        pp.prune(broken, HALF)


# torch, if it is there.


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_torch() -> None:
    torch: Any = importlib.import_module("torch")

    for name in ("int8", "uint8", "float16", "bfloat16", "float32", "float64"):
        tensor = torch.tensor(W.astype(np.int8).astype(float).tolist()).to(getattr(torch, name))
        expected = pp.prune(tensor.double().numpy().astype(name), HALF)
        assert same_bits(pp.prune(tensor, HALF), expected)
        assert same_bits(pp.prune(tensor.T, pp.NM(2, 4, axis=0)), expected.T.copy())
        kept = tensor.clone()
        pp.prune(kept, HALF, out=kept)
        assert torch.equal(kept.double(), torch.tensor(expected.astype(float)))


# The buffer protocol.


def test_buffers() -> None:
    flat: Any = W.ravel()
    table: Any = W
    for buffer in (array.array("f", flat), memoryview(flat), memoryview(table)):
        w: Any = buffer
        assert pp.prune(w, HALF).ravel().tolist() == [x for row in PRUNED for x in row]
    signed: Any = array.array("b", [1, -128, 127, 3])
    assert pp.prune(signed, HALF).tolist() == [0, -128, 127, 0]
    raw: Any = bytearray([1, 200, 100, 3])
    assert pp.prune(raw, HALF).tolist() == [0, 200, 100, 0]


def test_buffers_of_another_dtype() -> None:
    ints: Any = array.array("l", [1, 2, 3, 4])
    with pytest.raises(TypeError, match=r"w must have one of the dtypes .*, got int64"):
        pp.prune(ints, HALF)


# What is no weight.


@pytest.mark.parametrize(
    "w",
    [
        np.ones(4, bool),
        np.ones(4, np.int16),
        np.ones(4, np.uint32),
        np.ones(4, np.int64),
        np.ones(4, np.complex64),
        np.ones(4, np.longdouble),
        np.ones(4, object),
        np.array(["a"] * 4),
        np.zeros(4, "V2"),
        np.zeros(4, [("x", np.float32)]),
        np.zeros(4, "M8[s]"),
        np.ones(4, ml_dtypes.float8_e4m3fnuz),
        np.ones(4, ml_dtypes.int4),
    ],
    ids=lambda w: str(w.dtype),
)
def test_other_dtypes_are_refused_by_name(w: npt.NDArray[Any]) -> None:
    calls: list[Any] = [
        lambda: pp.prune(w, HALF),
        lambda: pp.prune_mask(w, HALF),
        lambda: pp.pack(w),
        lambda: pp.verify(w, HALF),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"w must have one of the dtypes float8_e4m3fn, .*got "):
            call()


@pytest.mark.parametrize("name", [">f4", ">f2", ">f8"])
def test_byte_swapped_weights_are_refused_with_the_remedy(name: str) -> None:
    with pytest.raises(TypeError, match=r"w must have .*got >f\d; convert it with w\.astype"):
        pp.prune(np.ones(4, name), HALF)


@pytest.mark.parametrize(
    "w", [[1.0, 2.0], (1.0, 2.0), 1.0, None, "w", {1: 2}, object()], ids=lambda w: type(w).__name__
)
def test_what_is_no_array_is_refused(w: Any) -> None:
    calls: list[Any] = [
        lambda: pp.prune(w, HALF),
        lambda: pp.prune_mask(w, HALF),
        lambda: pp.pack(w),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=f"w must be .*got {type(w).__name__}"):
            call()


def test_masked_arrays_are_refused() -> None:
    """Their mask means something else, and would be dropped without a word."""
    with pytest.raises(TypeError, match=r"w must not be a masked array; .* w\.filled"):
        pp.prune(np.ma.array([1.0, 2.0], mask=[True, False]), HALF)


def test_every_dtype_has_a_test() -> None:
    """The table of dtypes in the package is the one the tests run over."""
    from prunepack._dtypes import DTYPES as known

    assert set(known) == set(DTYPES)
