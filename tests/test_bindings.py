"""What guards memory where Python ends: no argument, whatever it is, makes C++ reach beyond an array.

The public functions check everything before, in better words; so each private one is called here as
they call it, with one argument spoilt at a time.
"""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from prunepack import _core

ROWS, COLUMNS = 3, 20
LINE = -(-COLUMNS // 8)
MARGIN = 64
SENTINEL = 0xA5
EXPONENTS = (31, 32, 57, 58, 63, 64)
SIZES = (-1, 0, 1, 2, 3, 5, 2**32 - 1, 2**64 - 1, *(2**exponent for exponent in EXPONENTS))

WEIGHTS = np.arange(1, 1 + ROWS * COLUMNS, dtype=np.float32).view(np.uint32).reshape(ROWS, COLUMNS)
MASK = np.packbits(np.ones((ROWS, COLUMNS), bool), axis=1, bitorder="little")
MATRIX = _core.prepare(MASK, WEIGHTS.reshape(-1), "float32", ROWS, COLUMNS, "dense", "float32", 1)
BASE_OF_PREPARED: Any = _core.Prepared.__mro__[1]


class Written:
    """An array to be written, in the middle of memory that must stay as it is."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._memory = np.full(size + 2 * MARGIN, SENTINEL, np.uint8)
        inside = self._memory[MARGIN:-MARGIN]
        inside[:] = 0
        self.array = inside.view(dtype).reshape(shape)

    def is_whole(self) -> bool:
        around = self._memory[:MARGIN], self._memory[-MARGIN:]
        return all((part == SENTINEL).all() for part in around)


def sound_calls() -> dict[str, dict[str, Any]]:
    """Return the arguments of a sound call of each function."""
    sizes = {"rows": ROWS, "columns": COLUMNS, "threads": 2}
    weights = {"weights": WEIGHTS, "dtype": "float32", "threads": 2}
    packed = {"mask": MASK, "values": WEIGHTS.reshape(-1), "dtype": "float32"}
    mask = {"mask": Written((ROWS, LINE), np.uint8)}
    lines = {"outer": ROWS, "length": COLUMNS, "inner": 1}
    tiles = {"shape": [ROWS, COLUMNS], "tile": [2, 4], "norm": "l2"}
    dense = Written((ROWS, COLUMNS), np.uint32)
    values = Written((ROWS * COLUMNS,), np.uint32)
    x = {"x": np.ones((2, COLUMNS), np.float32), "x_dtype": "float32", "activations": "float32"}
    bias = {"scales": None, "bias": np.ones(ROWS, np.float32)}
    return {
        "nm_mask": {**weights, **sizes, **lines, "n": 2, "m": 4, **mask},
        "smallest_mask": {**weights, **sizes, "populations": 2, "pruned": 7, **mask},
        "above_mask": {**weights, **sizes, "key": 1 << 30, **mask},
        "block_mask": {**weights, **tiles, "pruned": 4, **mask},
        "pack": {**weights, **sizes, "given": MASK, **mask, "values": values},
        "unpack": {**packed, **sizes, "weights": dense},
        "apply_mask": {**weights, **sizes, "mask": MASK, "out": dense},
        "count_rows": {"mask": MASK},
        "key_histogram": {**weights, "low": 0, "shift": 20, "counts": Written((12,), np.int64)},
        "sum_of_squares": weights,
        "importances": {"dtype": "float32", "keys": np.arange(9, dtype=np.uint64), "norm": 0.5},
        "mask_structure": {
            "mask": MASK.reshape(ROWS, 1, LINE),
            "width": COLUMNS,
            "columns": Written((LINE,), np.uint8),
            "threads": 2,
        },
        "prepare": {**packed, **sizes, "layout": "bitmask", "activations": "float32"},
        "linear": {"matrix": MATRIX, **x, **bias, "out": Written((2, ROWS), np.float32)}
        | {"threads": 2},
        "linear_as_is": {"matrix": MATRIX, "x": x["x"], **bias}
        | {"out": Written((2, ROWS), np.float32), "threads": 2},
    }


def spoilt_arrays(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield arrays that are not as the kernels need them."""
    flat = array.reshape(-1)
    yield "shorter", flat[:-1].copy()
    yield "longer", np.append(flat, flat[:1])
    yield "empty", flat[:0].copy()
    yield "every other", np.repeat(array, 2, axis=-1)[..., ::2]
    yield "backwards", array.copy()[..., ::-1]
    yield "wider elements", array.astype(np.complex128)
    if array.itemsize > 1:
        memory = np.zeros(array.nbytes + 1, np.uint8)
        yield "unaligned", memory[1:].view(array.dtype).reshape(array.shape)
        yield "narrower elements", array.astype(np.uint8)


def spoilt_calls() -> Iterator[Any]:
    """Yield a function, one of its arguments, and what to give instead."""
    for name, sound in sound_calls().items():
        for argument, value in sound.items():
            spoilt: Iterable[tuple[object, Any]] = ()
            if isinstance(value, np.ndarray | Written):
                array = value.array if isinstance(value, Written) else value
                spoilt = spoilt_arrays(array)
            elif isinstance(value, list):
                lists = [[*value[:i], size, *value[i + 1 :]] for i in range(2) for size in SIZES]
                spoilt = ((each, each) for each in (*lists, value[:1], []))
            elif isinstance(value, int):
                spoilt = ((size, size) for size in SIZES)
            for how, instead in spoilt:
                yield pytest.param(name, argument, instead, id=f"{name}-{argument}-{how}")


def call(name: str, arguments: dict[str, Any]) -> Any:
    arrays = {
        key: value.array if isinstance(value, Written) else value
        for key, value in arguments.items()
    }
    return getattr(_core, name)(**arrays)


def test_every_function_is_called() -> None:
    others = {"isa", "isas", "default_threads", "from_dlpack"}
    functions = {name for name, thing in vars(_core).items() if inspect.isroutine(thing)}
    assert functions == sound_calls().keys() | others


@pytest.mark.parametrize("name", sound_calls())
def test_sound_calls_are_taken(name: str) -> None:
    call(name, sound_calls()[name])


@pytest.mark.parametrize(("name", "argument", "spoilt"), list(spoilt_calls()))
def test_nothing_is_reached_beyond_an_array(name: str, argument: str, spoilt: Any) -> None:
    """What fits all the same may be taken; what does not is refused, and then nothing is written."""
    arguments = sound_calls()[name] | {argument: spoilt}
    outputs = [value for value in arguments.values() if isinstance(value, Written)]
    try:
        call(name, arguments)
    except (ValueError, TypeError):
        assert not any(output.array.any() for output in outputs)
    assert all(output.is_whole() for output in outputs)


@pytest.mark.parametrize("name", sound_calls())
def test_what_is_read_only_is_not_written(name: str) -> None:
    sound = sound_calls()[name]
    for output in (value for value in sound.values() if isinstance(value, Written)):
        output.array.flags.writeable = False
        if name == "linear_as_is":  # leaves it to the caller to find out what is wrong
            assert call(name, sound) is None
            assert not output.array.any()
            continue
        with pytest.raises(ValueError, match="not writeable"):
            call(name, sound)
        output.array.flags.writeable = True


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_core.Prepared, "must be made by prepare"),
        (lambda: _core.Prepared.__new__(_core.Prepared), "must be made by prepare"),
        (lambda: copy.copy(MATRIX), "must be made by prepare|cannot pickle"),
        (lambda: pickle.dumps(MATRIX), "cannot pickle"),
        (lambda: BASE_OF_PREPARED.__new__(_core.Prepared), "is not safe"),
        (lambda: object.__new__(_core.Prepared), "is not safe"),
    ],
    ids=["called", "__new__", "copied", "pickled", "__new__ of its base", "object.__new__"],
)
def test_nothing_makes_a_prepared_without_a_matrix(make: Callable[[], object], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        make()
