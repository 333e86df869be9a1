"""What became of the linear layers of a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerReport:
    """What became of one linear layer.

    Attributes
    ----------
    name : str
        Where it is in the model; a layer in several places is named after the first.
    shape : tuple of int
        Outputs, inputs.
    dtype : str
        Of the weight, such as ``"bfloat16"``.
    packed : bool
        Whether it is a `PackedLinear` now.
    note : str or None
        Why it is not.
    sparsity : float or None
        The share of zeros in the weight; None where nobody looked.
    bytes_before, bytes_after : int
        The bytes of the weight.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    packed: bool
    note: str | None
    sparsity: float | None
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True)
class ModuleReport:
    """What became of the linear layers of a model, in its own order."""

    layers: tuple[LayerReport, ...]

    @property
    def packed(self) -> tuple[str, ...]:
        """The names of the layers that are packed now."""
        return tuple(layer.name for layer in self.layers if layer.packed)

    @property
    def bytes_before(self) -> int:
        """The bytes of the weights of all linear layers before."""
        return sum(layer.bytes_before for layer in self.layers)

    @property
    def bytes_after(self) -> int:
        """The bytes of the weights of all linear layers now, as they are stored."""
        return sum(layer.bytes_after for layer in self.layers)

    def __str__(self) -> str:
        """Count the layers and bytes, and name what was left alone."""
        ratio = self.bytes_before / self.bytes_after if self.bytes_after else 1
        counted = f"{len(self.packed)} of {len(self.layers)} linear layers packed"
        lines = [f"{counted}: {self.bytes_before:,} -> {self.bytes_after:,} bytes ({ratio:.2f}x)"]
        lines += [f"  {layer.name}: {layer.note}" for layer in self.layers if not layer.packed]
        return "\n".join(lines)
