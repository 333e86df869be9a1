"""Linear layers that compute from packed weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._arrays import as_array, resolve_threads
from ._packed import PackedTensor, pack
from ._prepared import (
    PreparedMatrix,
    channel_vector,
    check_matrix,
    checked_activations,
    default_activations,
    multiply,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._arrays import Array, ArrayLike


def linear(
    x: ArrayLike,
    packed: PackedTensor | PreparedMatrix,
    bias: ArrayLike | None = None,
    out: ArrayLike | None = None,
    *,
    scales: ArrayLike | None = None,
    activations: str | None = None,
    num_threads: int | None = None,
) -> Array:
    """Compute ``x @ W.T + bias`` from the packed form of W.

    Parameters
    ----------
    x : array_like, shape (..., inputs)
        float32, float16 or bfloat16. Copied only if not C-contiguous.
    packed : PackedTensor or PreparedMatrix
        The weights, of shape (outputs, inputs): float32, float16, bfloat16 or int8. A packed tensor
        is prepared when it is first used, and keeps what that made; see `PackedTensor.prepare`.
    bias : array_like, shape (outputs,), optional
        Added to each row of the result. float32; float16 and bfloat16 are converted.
    out : array_like, optional
        Write here instead of a new array: the shape of the result and the dtype of x, writable.
    scales : array_like, shape (outputs,), optional
        What each output is multiplied with before the bias is added, 1 by default. int8 weights
        are seldom of use without. float32; float16 and bfloat16 are converted.
    activations : {"float32", "bfloat16", "int8"}, optional
        What x is rounded to before it is multiplied; by default nothing is rounded.
        "bfloat16" goes with bfloat16 weights, and "int8" with int8 weights: each row of x is then
        rounded to 127 steps on either side of zero, the largest magnitude being step 127, and a
        row that is not finite makes its results NaN. Faster where the CPU has instructions for it.
    num_threads : int, optional
        Threads to use; by default ``PRUNEPACK_NUM_THREADS``, else the usable cores. The result
        does not depend on it.

    Returns
    -------
    ndarray, shape (..., outputs)
        Of the dtype of x; `out`, if it was given.

    Raises
    ------
    TypeError
        If x, the weights, bias or scales have another dtype, or activations do not go with the
        weights.
    ValueError
        If the shapes do not fit together.

    See Also
    --------
    PackedLinear : The weights, the bias and the scales in one object.

    Notes
    -----
    Sums are float32 or wider, in an order that depends on the CPU, the layout and the number of
    rows of x. With u = 2**-24 and n inputs each result, before it is rounded to the dtype of x, is
    within ``(n + 4) u (|scale| sum(|w| |x|) + |bias|)`` of the exact one, x being the x rounded
    as `activations` says, unless a partial result overflows, or is so small as to be subnormal.

    A pruned weight contributes nothing, or 0 times its x: where an x is infinite or NaN, it depends on
    the layout whether a result that only pruned weights connect with it is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.array([[0, 2, 0, 0], [1, 0, 0, 3]], np.float32)
    >>> x = np.array([[1, 10, 100, 1000]], np.float32)
    >>> pp.linear(x, pp.pack(w), np.array([0.5, 0], np.float32))
    array([[  20.5, 3001. ]], dtype=float32)
    """
    if not isinstance(packed, (PackedTensor, PreparedMatrix)):  # half the time of a union
        msg = f"packed must be a PackedTensor or PreparedMatrix, got {type(packed).__name__}"
        raise TypeError(msg)
    if activations is None:
        y = packed._product_as_is(x, scales, bias, out, num_threads)
        if y is not None:
            return y
    threads = resolve_threads(num_threads)
    array = as_array(x, "x")
    chosen = default_activations(activations, array.dtype, packed.dtype)
    mode = checked_activations(chosen, packed.dtype)
    matrix = packed._ready(mode, threads) if isinstance(packed, PackedTensor) else packed
    return multiply(array, matrix, bias, scales, mode, out, threads)


class PackedLinear:
    """A linear layer with packed weights: call it with x.

    Parameters
    ----------
    weight : PackedTensor
        Shape (outputs, inputs); float32, float16, bfloat16 or int8.
    bias : array_like, shape (outputs,), optional
        float32, float16 or bfloat16.
    scales : array_like, shape (outputs,), optional
        What each output is multiplied with before the bias is added; for int8 weights.
    activations : {"float32", "bfloat16", "int8"}, optional
        What x is rounded to before it is multiplied; see `linear`.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.array([[0, 2, 0, 0], [1, 0, 0, 3]], np.float32)
    >>> layer = pp.PackedLinear(pp.pack(w), bias=np.zeros(2, np.float32))
    >>> layer(np.ones(4, np.float32))
    array([2., 4.], dtype=float32)
    >>> pp.save_file(layer.to_tensors("fc"), "layer.safetensors")
    >>> again = pp.PackedLinear.from_tensors(pp.load_file("layer.safetensors"), "fc")
    >>> again(np.ones(4, np.float32))
    array([2., 4.], dtype=float32)
    """

    __slots__ = ("_activations", "_bias", "_scales", "_weight")

    def __init__(
        self,
        weight: PackedTensor,
        bias: ArrayLike | None = None,
        scales: ArrayLike | None = None,
        activations: str | None = None,
    ) -> None:
        if not isinstance(weight, PackedTensor):
            msg = f"weight must be a PackedTensor, got {type(weight).__name__}; see pack"
            raise TypeError(msg)
        check_matrix(weight.shape, weight.dtype)
        checked_activations(activations, weight.dtype)
        self._weight = weight
        self._bias = _vector(bias, weight, "bias")
        self._scales = _vector(scales, weight, "scales")
        self._activations = activations

    @property
    def weight(self) -> PackedTensor:
        """The packed weights: outputs, inputs."""
        return self._weight

    @property
    def bias(self) -> Array | None:
        """What is added to each output."""
        return self._bias

    @property
    def scales(self) -> Array | None:
        """What each output is multiplied with before the bias is added."""
        return self._scales

    @property
    def activations(self) -> str | None:
        """What x is rounded to before it is multiplied."""
        return self._activations

    @property
    def in_features(self) -> int:
        """The length of the last axis of x."""
        return self._weight.shape[1]

    @property
    def out_features(self) -> int:
        """The length of the last axis of the result."""
        return self._weight.shape[0]

    @property
    def nbytes(self) -> int:
        """The bytes of the stored form: packed weights, bias and scales."""
        vectors = (self._bias, self._scales)
        return self._weight.nbytes + sum(v.nbytes for v in vectors if v is not None)

    def __call__(
        self, x: ArrayLike, out: ArrayLike | None = None, *, num_threads: int | None = None
    ) -> Array:
        """Apply the layer, as `linear` does.

        Parameters
        ----------
        x : array_like, shape (..., in_features)
            float32, float16 or bfloat16.
        out : array_like, optional
            Write here instead of a new array.
        num_threads : int, optional
            Threads to use.

        Returns
        -------
        ndarray, shape (..., out_features)
            Of the dtype of x; `out`, if it was given.
        """
        return linear(
            x,
            self._weight,
            self._bias,
            scales=self._scales,
            activations=self._activations,
            out=out,
            num_threads=num_threads,
        )

    def to_tensors(self, name: str = "") -> dict[str, Array | PackedTensor]:
        """Return the parts under the names that `from_tensors` looks for.

        Parameters
        ----------
        name : str
            The layer's name in the model, such as ``"encoder.fc"``.

        Returns
        -------
        dict
            ``weight``, and ``bias`` and ``weight_scale`` if there are any, after `name` and a dot:
            what `save_file` takes.
        """
        parts = {"weight": self._weight, "bias": self._bias, "weight_scale": self._scales}
        return {_part(name, part): found for part, found in parts.items() if found is not None}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Any], name: str = "", *, activations: str | None = None
    ) -> PackedLinear:
        """Make a layer of the parts that it has among `tensors`.

        Parameters
        ----------
        tensors : mapping of str to array or PackedTensor
            What `load_file` returns. A dense weight is packed.
        name : str
            The layer's name in the model.
        activations : {"float32", "bfloat16", "int8"}, optional
            What x is rounded to before it is multiplied; files do not say.

        Returns
        -------
        PackedLinear
            With the bias ``name.bias`` and the scales ``name.weight_scale``, if they are there.

        Raises
        ------
        ValueError
            If there is no ``name.weight``.
        """
        weight = tensors.get(_part(name, "weight"))
        if weight is None:
            msg = f"tensors must have {_part(name, 'weight')!r}, which is not among them"
            raise ValueError(msg)
        bias, scales = (tensors.get(_part(name, part)) for part in ("bias", "weight_scale"))
        packed = weight if isinstance(weight, PackedTensor) else pack(weight)
        if scales is not None:
            scales = as_array(scales, "scales")
            if scales.shape == (packed.shape[0], 1):  # as compressed-tensors stores them
                scales = scales[:, 0]
        return cls(packed, bias, scales, activations)

    def __repr__(self) -> str:
        given = {"scales": self._scales is not None, "bias": self._bias is not None}
        extras = "".join(f", {name}" for name, there in given.items() if there)
        if self._activations is not None:
            extras += f", activations={self._activations!r}"
        return (
            f"PackedLinear(in_features={self.in_features}, out_features={self.out_features}, "
            f"dtype={self._weight.dtype}, sparsity={self._weight.sparsity:.3g}{extras})"
        )


def _vector(source: ArrayLike | None, weight: PackedTensor, argument: str) -> Array | None:
    """View a bias or scales as they are, after checking them."""
    if source is None:
        return None
    channel_vector(source, weight.shape[0], argument)
    return as_array(source, argument)


def _part(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part
