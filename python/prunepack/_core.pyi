from collections.abc import Sequence
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

_Array: TypeAlias = npt.NDArray[Any]
_Bytes: TypeAlias = npt.NDArray[np.uint8]

@final
class Prepared:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    @property
    def layout(self) -> str: ...
    @property
    def kept(self) -> int: ...
    @property
    def breadth(self) -> int: ...
    @property
    def nbytes(self) -> int: ...

def isa() -> str: ...
def isas() -> list[str]: ...
def default_threads() -> int: ...
def from_dlpack(capsule: object) -> tuple[_Array, int]: ...
def nm_mask(
    weights: _Array,
    dtype: str,
    outer: int,
    length: int,
    inner: int,
    n: int,
    m: int,
    rows: int,
    columns: int,
    mask: _Bytes,
    threads: int,
    isa: str | None = None,
) -> None: ...
def smallest_mask(
    weights: _Array,
    dtype: str,
    populations: int,
    pruned: int,
    rows: int,
    columns: int,
    mask: _Bytes,
    threads: int,
    isa: str | None = None,
) -> None: ...
def above_mask(
    weights: _Array,
    dtype: str,
    key: int,
    rows: int,
    columns: int,
    mask: _Bytes,
    threads: int,
    isa: str | None = None,
) -> int: ...
def block_mask(
    weights: _Array,
    dtype: str,
    shape: Sequence[int],
    tile: Sequence[int],
    norm: str,
    pruned: int,
    mask: _Bytes,
    threads: int,
    isa: str | None = None,
) -> None: ...
def pack(
    weights: _Array,
    dtype: str,
    rows: int,
    columns: int,
    given: _Bytes | None,
    mask: _Bytes,
    values: _Array,
    threads: int,
    isa: str | None = None,
) -> int: ...
def unpack(
    mask: _Bytes,
    values: _Array,
    dtype: str,
    rows: int,
    columns: int,
    weights: _Array,
    threads: int,
    isa: str | None = None,
) -> None: ...
def apply_mask(
    weights: _Array,
    dtype: str,
    rows: int,
    columns: int,
    mask: _Bytes,
    out: _Array,
    threads: int,
    isa: str | None = None,
) -> None: ...
def count_rows(mask: _Bytes, *, isa: str | None = None) -> npt.NDArray[np.int64]: ...
def key_histogram(
    weights: _Array,
    dtype: str,
    low: int,
    shift: int,
    counts: npt.NDArray[np.int64],
    threads: int,
    isa: str | None = None,
) -> None: ...
def sum_of_squares(weights: _Array, dtype: str, threads: int, isa: str | None = None) -> float: ...
def importances(
    dtype: str, keys: npt.NDArray[np.uint64], norm: float
) -> npt.NDArray[np.uint64]: ...
def mask_structure(
    mask: _Bytes, width: int, columns: _Bytes, threads: int, isa: str | None = None
) -> tuple[int, list[int], list[list[int]], int]: ...
def prepare(
    mask: _Bytes,
    values: _Array,
    dtype: str,
    rows: int,
    columns: int,
    layout: str | None,
    activations: str,
    threads: int,
    isa: str | None = None,
) -> Prepared: ...
def linear_as_is(
    matrix: Prepared, x: object, scales: object, bias: object, out: object, threads: object
) -> npt.NDArray[np.float32] | None: ...
def linear(
    matrix: Prepared,
    x: _Array,
    x_dtype: str,
    activations: str,
    scales: npt.NDArray[np.float32] | None,
    bias: npt.NDArray[np.float32] | None,
    out: npt.NDArray[np.float32],
    threads: int,
    openmp: bool = False,
    isa: str | None = None,
) -> None: ...
