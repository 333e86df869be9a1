"""Files of packed and dense tensors, read and written all at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ._arrays import ArrayLike, as_array
from ._entries import RawTensor
from ._file_reader import open_file
from ._file_writer import create_file
from ._packed import PackedTensor
from ._strict_json import shown
from ._tensor_info import TensorInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._tensor_info import Tensor


def save_file(
    tensors: Mapping[str, Tensor | ArrayLike],
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Save packed and dense tensors in one file.

    Parameters
    ----------
    tensors : mapping of str to array or PackedTensor
        Arrays are stored as they are: anything `pack` takes, and integers, booleans and the
        other dtypes a file can hold.
    path : str or os.PathLike
        ``.safetensors``, which any safetensors reader opens; ``.npz``, in which dense arrays
        stay readable with `np.load`; or ``.npy`` for a single dense array, which loses its name.
        An existing file is replaced once the new one is complete and on disk; if anything
        fails, it stays as it was.
    metadata : mapping of str to str, optional
        Strings to keep in the file. The key "prunepack" is prunepack's own.

    Raises
    ------
    TypeError
        If a tensor has a dtype the format cannot hold.
    ValueError
        If the suffix is unknown, or two tensors would be stored under one name.
    OSError
        If the file cannot be written.

    See Also
    --------
    load_file : The way back.

    Notes
    -----
    A packed tensor ``fc.weight`` is stored as compressed-tensors' ``sparse-bitmask`` stores
    it: ``fc.shape``, ``fc.compressed``, ``fc.bitmask`` and ``fc.row_offsets``.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.array([[0, 1.5, 0, 0], [0, 0, -2, 0]], np.float32)
    >>> tensors = {"fc.weight": pp.pack(w), "fc.bias": np.ones(2, np.float32)}
    >>> pp.save_file(tensors, "model.safetensors")
    >>> pp.load_file("model.safetensors")["fc.weight"].to_dense()
    array([[ 0. ,  1.5,  0. ,  0. ],
           [ 0. ,  0. , -2. ,  0. ]], dtype=float32)
    """
    arrays = {name: _as_tensor(tensor, name) for name, tensor in tensors.items()}
    plan = {name: TensorInfo.of(tensor, f"tensor {shown(name)}") for name, tensor in arrays.items()}
    with create_file(path, plan, metadata=metadata) as file:
        for name, tensor in arrays.items():
            file.write(name, tensor)


def load_file(path: str | os.PathLike[str], *, mapped: bool = True) -> dict[str, Tensor]:
    """Load all tensors of a file.

    Parameters
    ----------
    path : str or os.PathLike
        A ``.safetensors`` file of prunepack, compressed-tensors (``sparse-bitmask`` and
        ``sparse-24-bitmask``) or anyone else; a ``.npz``; or a ``.npy``, whose array is named
        after the file.
    mapped : bool
        Whether tensors of a safetensors file are views of it, or copies. From the other formats
        there are only copies.

    Returns
    -------
    dict of str to ndarray, PackedTensor or RawTensor
        Packed tensors stay packed. Views are read-only and need memory only where they are
        touched. A tensor of a dtype prunepack does not know is a
        `RawTensor`, which `save_file` writes back untouched.

    Raises
    ------
    FormatError
        If the file is not what its format requires; nothing is guessed or repaired. With
        ``mapped=False`` also if it changes while it is read.
    ValueError
        If the suffix is unknown.
    OSError
        If the file cannot be read.

    See Also
    --------
    save_file : The way there.

    Notes
    -----
    A view shows what the file has become, as ``numpy.memmap`` does. If another process writes to it in
    place, what was checked when it was loaded may no longer hold; if it cuts it short, touching what
    is gone ends this process with SIGBUS. A file that is replaced as a whole, as `save_file`
    and all good tools do, changes nothing for views of the old one. Load with ``mapped=False``
    what others may write to in place.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> pp.save_file({"w": np.arange(3)}, "model.npz")
    >>> pp.load_file("model.npz")
    {'w': array([0, 1, 2])}
    """
    with open_file(path, mapped=mapped) as file:
        return {name: file.read(name) for name in file.names}


def _as_tensor(tensor: Tensor | ArrayLike, name: str) -> Tensor:
    if not isinstance(name, str):
        msg = (
            f"tensors must map names to arrays, got {type(name).__name__} {shown(name)} for a name"
        )
        raise TypeError(msg)
    if isinstance(tensor, PackedTensor | RawTensor):
        return tensor
    return as_array(tensor, f"tensors[{name!r}]")
