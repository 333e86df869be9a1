"""A linear layer whose weight is packed, as a torch module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .._masks import prune_mask
from .._packed import PackedTensor, pack
from .._prepared import (
    X_DTYPES,
    channel_vector,
    check_matrix,
    checked_activations,
    default_activations,
)
from ._compiled import number_of, packed_linear
from ._memory import NUMPY_DTYPES, to_array, to_tensor

if TYPE_CHECKING:
    from .._arrays import ArrayLike
    from .._patterns import Pattern

# The parts of a packed weight, as sparse-bitmask files name them.
PARTS = ("bitmask", "compressed", "row_offsets", "shape")


class PackedLinear(torch.nn.Module):
    """A linear layer that computes from a packed weight; for inference on the CPU.

    Its state_dict has the parts of the weight under the names that files have for them:
    ``bitmask``, ``compressed``, ``row_offsets`` and ``shape``; and ``bias`` and ``weight_scale``,
    if there are any. A file of them, as safetensors.torch writes it, is one that
    `prunepack.load_file` reads, and the other way round.

    Parameters
    ----------
    weight : prunepack.PackedTensor
        Shape (out_features, in_features); float32, float16, bfloat16 or int8.
    bias : Tensor or array_like, shape (out_features,), optional
        float32, float16 or bfloat16.
    scales : Tensor or array_like, shape (out_features,), optional
        What each output is multiplied with before the bias is added; for int8 weights.
    activations : {"float32", "bfloat16", "int8"}, optional
        What the input is rounded to before it is multiplied; see `prunepack.linear`. By default
        it is not rounded.

    Notes
    -----
    It has no gradients. `torch.compile` takes it as one operation. It uses as many threads as ``torch.get_num_threads()`` says. What is
    prepared for computing, on the first call, takes memory besides the packed weight, and is neither
    saved nor copied.

    Examples
    --------
    >>> import torch
    >>> import prunepack as pp
    >>> from prunepack.torch import PackedLinear
    >>> layer = PackedLinear.from_linear(torch.nn.Linear(64, 32), pp.NM(3, 4))
    >>> layer
    PackedLinear(in_features=64, out_features=32, bias=True, dtype=float32, sparsity=0.75)
    >>> with torch.inference_mode():
    ...     layer(torch.ones(2, 64)).shape
    torch.Size([2, 32])
    """

    _packed: PackedTensor | None
    weight_scale: torch.Tensor | None

    def __init__(
        self,
        weight: PackedTensor,
        bias: torch.Tensor | ArrayLike | None = None,
        scales: torch.Tensor | ArrayLike | None = None,
        activations: str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(weight, PackedTensor):
            msg = f"weight must be a prunepack.PackedTensor, got {type(weight).__name__}"
            raise TypeError(msg)
        check_matrix(weight.shape, weight.dtype)
        checked_activations(activations, weight.dtype)
        self.out_features, self.in_features = weight.shape
        self.activations = activations
        self._number = number_of(self)
        for part in PARTS:
            self.register_buffer(part, None)
        self._hold(weight)
        self.register_buffer("bias", self._vector(bias, "bias"))
        self.register_buffer("weight_scale", self._vector(scales, "scales"))

    @classmethod
    def from_linear(
        cls,
        layer: torch.nn.Linear,
        pattern: Pattern | None = None,
        *,
        activations: str | None = None,
        num_threads: int | None = None,
    ) -> PackedLinear:
        """Pack a dense layer, which stays as it is.

        Parameters
        ----------
        layer : torch.nn.Linear
            On the CPU.
        pattern : Pattern, optional
            How to prune it; by default only the zeros that it has are left out.
        activations : {"float32", "bfloat16", "int8"}, optional
            What the input is rounded to before it is multiplied.
        num_threads : int, optional
            Threads to pack with.

        Returns
        -------
        PackedLinear
            With the bias of `layer`, not a copy of it.
        """
        w = layer.weight.detach()
        mask = None if pattern is None else prune_mask(w, pattern, num_threads=num_threads)
        packed = pack(w, mask, num_threads=num_threads)
        bias = None if layer.bias is None else layer.bias.detach()
        made = cls(packed, bias, activations=activations)
        made.train(layer.training)
        return made

    @property
    def packed(self) -> PackedTensor:
        """The packed weight, over the memory of the buffers."""
        if self._packed is None:
            self._packed = _packed_of({part: getattr(self, part) for part in PARTS})
        return self._packed

    @property
    def nbytes(self) -> int:
        """The bytes of the buffers: the packed weight, the bias and the scales."""
        return sum(buffer.nbytes for buffer in self.buffers())

    def to_dense(self) -> torch.Tensor:
        """Unpack the weight into a new tensor."""
        return to_tensor(self.packed.to_dense())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer to the last axis of `x`.

        Parameters
        ----------
        x : Tensor, shape (..., in_features)
            float32, float16 or bfloat16, on the CPU.

        Returns
        -------
        Tensor, shape (..., out_features)
            Of the dtype of `x`.

        Raises
        ------
        RuntimeError
            If `x` is not on the CPU, or would need a gradient.
        """
        if torch.compiler.is_compiling():
            return packed_linear(x, self._number, self.out_features)
        self._check_input(x)
        packed, dtype = self.packed, NUMPY_DTYPES[x.dtype]
        activations = default_activations(self.activations, dtype, packed.dtype)
        threads = torch.get_num_threads()
        matrix = packed.prepare(activations=activations, num_threads=threads)
        batch = x.shape[:-1].numel()
        y = torch.empty((*x.shape[:-1], self.out_features), dtype=torch.float32)
        matrix._multiply(
            to_array(_contiguous(x)).reshape(batch, self.in_features),
            X_DTYPES[dtype],
            y.numpy().reshape(batch, self.out_features),
            _vector_array(self._buffers["bias"]),
            _vector_array(self._buffers["weight_scale"]),
            checked_activations(activations, packed.dtype),
            threads,
            openmp=True,  # torch's: while they wait for its next call, others would not run
        )
        return y if x.dtype is torch.float32 else y.to(x.dtype)

    def extra_repr(self) -> str:
        """Say what the layer is, for the repr of a model."""
        scales = "" if self.weight_scale is None else ", scales=True"
        rounding = "" if self.activations is None else f", activations={self.activations!r}"
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, dtype={self.packed.dtype}, "
            f"sparsity={self.packed.sparsity:.3g}{scales}{rounding}"
        )

    # What follows keeps the buffers and the PackedTensor over them together.

    def __getattr__(self, name: str) -> Any:
        if name == "weight":
            msg = (
                "a PackedLinear has no weight that other code could compute with; leave this layer "
                "out (exclude=), or see to_dense()"
            )
            raise AttributeError(msg)
        return super().__getattr__(name)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._number = number_of(self)

    def _hold(self, weight: PackedTensor) -> None:
        self._packed = weight
        self.bitmask = to_tensor(weight.mask)
        self.compressed = to_tensor(weight.values)
        self.row_offsets = torch.from_numpy(weight.row_offsets[:-1].copy())
        self.shape = torch.tensor(weight.shape)

    def _vector(
        self, source: torch.Tensor | ArrayLike | None, argument: str
    ) -> torch.Tensor | None:
        if source is None:
            return None
        array = to_array(source) if isinstance(source, torch.Tensor) else source
        channel_vector(array, self.out_features, argument)
        return source.detach() if isinstance(source, torch.Tensor) else to_tensor(np.asarray(array))

    def _check_input(self, x: torch.Tensor) -> None:
        if not x.is_cpu:
            msg = f"x must be on the CPU, where PackedLinear computes, got {x.device}"
            raise RuntimeError(msg)
        if torch.jit.is_tracing():
            msg = (
                "PackedLinear must not be traced, because a trace cannot hold it; see torch.compile"
            )
            raise RuntimeError(msg)
        if x.requires_grad and torch.is_grad_enabled():
            msg = (
                "x must not require a gradient, because PackedLinear has none; call the model "
                "under torch.inference_mode() or torch.no_grad()"
            )
            raise RuntimeError(msg)
        if x.dtype not in NUMPY_DTYPES or not x.is_floating_point():
            msg = f"x must be float32, float16 or bfloat16, got {x.dtype}"
            raise TypeError(msg)
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            msg = f"x must have the {self.in_features} inputs of the layer on its last axis, got "
            msg += f"{tuple(x.shape)}"
            raise ValueError(msg)

    def _apply(self, fn: Any, recurse: bool = True) -> PackedLinear:
        after = fn(self.compressed[:0])
        if after.device.type != "cpu":
            msg = f"PackedLinear must stay on the CPU, where it computes, got {after.device}"
            raise RuntimeError(msg)
        if after.dtype not in NUMPY_DTYPES:
            msg = f"PackedLinear must be float32, float16, bfloat16 or int8, got {after.dtype}"
            raise TypeError(msg)
        super()._apply(fn, recurse)
        self._packed = None
        return self

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take a weight with any number of values kept, once its parts are known to fit."""
        parts: dict[str, Any] = {part: state_dict.get(prefix + part) for part in PARTS}
        if all(isinstance(tensor, torch.Tensor) for tensor in parts.values()):
            try:
                packed = _packed_of(parts)
                self._check_same_shape(packed)
            except (TypeError, ValueError) as error:
                error_msgs.append(f"{prefix.removesuffix('.')}: {error}")
                return
            if not local_metadata.get("assign_to_params_buffers", False):
                parts = {part: tensor.clone() for part, tensor in parts.items()}
            for part, tensor in parts.items():
                setattr(self, part, tensor)
            self._packed = None
        scales = state_dict.get(prefix + "weight_scale")
        if self.weight_scale is None and isinstance(scales, torch.Tensor):
            self.weight_scale = torch.empty(self.out_features, dtype=scales.dtype)
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )

    def _check_same_shape(self, packed: PackedTensor) -> None:
        check_matrix(packed.shape, packed.dtype)
        if packed.shape != (self.out_features, self.in_features):
            msg = (
                f"shape must be ({self.out_features}, {self.in_features}), as the layer's is, "
                f"got {packed.shape}"
            )
            raise ValueError(msg)


def _packed_of(parts: dict[str, Any]) -> PackedTensor:
    """Check the parts and make one of them, over the same memory."""
    for part, tensor in parts.items():
        if tensor.device.type != "cpu":
            msg = f"{part} must be on the CPU, got {tensor.device}"
            raise ValueError(msg)
    compressed = parts["compressed"]
    if compressed.dtype not in NUMPY_DTYPES:
        msg = f"compressed must be float32, float16, bfloat16 or int8, got {compressed.dtype}"
        raise TypeError(msg)
    packed = PackedTensor(
        tuple(parts["shape"].tolist()),
        NUMPY_DTYPES[compressed.dtype],
        parts["bitmask"].numpy(),
        to_array(compressed),
    )
    if not np.array_equal(parts["row_offsets"].numpy(), packed.row_offsets[:-1]):
        msg = "row_offsets must say how many values the bitmask keeps before each row"
        raise ValueError(msg)
    return packed


def _contiguous(tensor: torch.Tensor) -> torch.Tensor:
    """Return `tensor` itself if the kernels can read it, else a copy; to ask takes no microsecond."""
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _vector_array(vector: torch.Tensor | None) -> Any:
    if vector is None:
        return None
    if vector.dtype is not torch.float32:
        vector = vector.to(torch.float32)
    return to_array(_contiguous(vector))
