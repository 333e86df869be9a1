"""Whole torch models: swap their linear layers for packed ones, and load them so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.utils.prune import BasePruningMethod

from .._checkpoint._defaults import kind_of_name
from .._globs import any_match, checked_globs, named_out
from .._packed import PackedTensor
from .._prune import prune
from ._memory import NUMPY_DTYPES
from ._module import PARTS, PackedLinear
from ._reports import LayerReport, ModuleReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._patterns import Pattern


def pack_module(
    model: torch.nn.Module,
    pattern: Pattern | None = None,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: int = 2048,
    defaults: bool = True,
    activations: str | None = None,
    even_if_larger: bool = False,
    num_threads: int | None = None,
) -> ModuleReport:
    """Prune the linear layers of a model, and swap them for packed ones, in place.

    Parameters
    ----------
    model : torch.nn.Module
        On the CPU. Its `torch.nn.Linear` layers are swapped one by one, so that at no time all of
        them are there twice.
    pattern : Pattern, optional
        How to prune each weight; by default only the zeros that are there are left out.
    include, exclude : iterable of str
        Globs over the names of layers, such as ``"*.mlp.*"``. With any `include`, a layer must match
        one; it must match no `exclude`.
    min_size : int
        The fewest elements of a weight that is worth it.
    defaults : bool
        Leave output heads, embeddings and norms alone, told by their names as for
        `prunepack.prune_checkpoint`.
    activations : {"float32", "bfloat16", "int8"}, optional
        What inputs are rounded to before they are multiplied; see `prunepack.linear`.
    even_if_larger : bool
        Swap layers that packing does not make smaller, too.
    num_threads : int, optional
        Threads to prune and pack with.

    Returns
    -------
    ModuleReport
        Every linear layer, and why, if it was left as it was.

    Raises
    ------
    TypeError
        If `model` is no module, or `activations` do not go with the weights.
    ValueError
        If the model is a linear layer itself, or an include matches none of them.

    Notes
    -----
    Left alone are layers of a class derived from `torch.nn.Linear` (an attention layer of torch uses
    one without calling it), layers with hooks of their own, and layers that share their weight
    with something else, such as an output head with its embedding. Layers that share a weight
    with each other share the packed one. The zeros of `torch.nn.utils.prune` are there to be packed,
    and its masks go.

    Examples
    --------
    >>> import torch
    >>> import prunepack as pp
    >>> from prunepack.torch import pack_module
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.GELU(), torch.nn.Linear(64, 8))
    >>> print(pack_module(model, pp.NM(3, 4)))
    1 of 2 linear layers packed: 18,432 -> 7,176 bytes (2.57x)
      2: fewer than 2,048 weights
    """
    if not isinstance(model, torch.nn.Module):
        msg = f"model must be a torch.nn.Module, got {type(model).__name__}"
        raise TypeError(msg)
    if isinstance(model, torch.nn.Linear):
        msg = "model must hold its linear layers, it is one itself; see PackedLinear.from_linear"
        raise ValueError(msg)  # noqa: TRY004  # a module it is
    globs = checked_globs(include, "include"), checked_globs(exclude, "exclude")
    places = _linear_places(model)
    _check_included(globs[0], places)
    notes = _why_not(model, places, globs, min_size, defaults)
    done: dict[int, PackedTensor] = {}  # by the id of a weight that was there at the beginning
    reports = []
    for names in places:
        layer = model.get_submodule(names[0])
        weight, note, packed = layer.weight, notes[names], None
        if note is None:
            made = _pack(layer, pattern, done, activations, num_threads)
            if even_if_larger or made.packed.nbytes < weight.nbytes:
                packed = made.packed
                _put(model, names, made)
            else:
                note = "packing would not make it smaller"
                if pattern is not None:
                    prune(weight.detach(), pattern, out=weight.detach(), num_threads=num_threads)
        reports.append(_report(names[0], weight, packed, note))
    return ModuleReport(tuple(reports))


def load_packed(
    model: torch.nn.Module,
    state_dict: Mapping[str, torch.Tensor],
    *,
    strict: bool = True,
    assign: bool = False,
) -> Any:
    """Load the state_dict of a packed model into a model that was built anew.

    Linear layers whose weights are packed in `state_dict` are swapped first, in place.

    Parameters
    ----------
    model : torch.nn.Module
        Packed, not packed, or in parts.
    state_dict : mapping of str to Tensor
        What `state_dict()` of a packed model gave, or ``safetensors.torch.load_file`` of a file
        that prunepack wrote.
    strict, assign : bool
        As in `torch.nn.Module.load_state_dict`. With `assign` nothing is copied, so that what is
        mapped from a file stays so.

    Returns
    -------
    NamedTuple
        The missing and the unexpected keys, as `torch.nn.Module.load_state_dict` has them.

    Raises
    ------
    RuntimeError
        If tensors are missing or do not fit, as from `torch.nn.Module.load_state_dict`.

    Examples
    --------
    >>> import torch
    >>> import prunepack as pp
    >>> from prunepack.torch import load_packed, pack_module
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64))
    >>> report = pack_module(model, pp.NM(3, 4))
    >>> again = torch.nn.Sequential(torch.nn.Linear(64, 64))
    >>> load_packed(again, model.state_dict())
    <All keys matched successfully>
    """
    for names in _linear_places(model):
        parts = [f"{names[0]}.{part}" for part in PARTS]
        if all(part in state_dict for part in parts):
            layer = model.get_submodule(names[0])
            empty = PackedLinear(_nothing(layer), layer.bias)
            empty.train(layer.training)
            _put(model, names, empty)
    return model.load_state_dict(state_dict, strict=strict, assign=assign)


def _nothing(layer: torch.nn.Linear) -> PackedTensor:
    """Return a weight of the shape of the layer's, with nothing in it."""
    mask = np.zeros((layer.out_features, (layer.in_features + 7) // 8), np.uint8)
    shape = (layer.out_features, layer.in_features)
    return PackedTensor(shape, np.float32, mask, np.zeros(0, np.float32))


def _linear_places(model: torch.nn.Module) -> list[tuple[str, ...]]:
    """Find each linear layer, by all the names it goes by."""
    places: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, torch.nn.Linear):
            places.setdefault(id(module), []).append(name)
    return [tuple(names) for names in places.values()]


def _check_included(included: tuple[str, ...], places: list[tuple[str, ...]]) -> None:
    names = [name for found in places for name in found]
    for glob in included:
        if not any(any_match(name, [glob]) for name in names):
            example = f"; their names look like {names[0]!r}" if names else ""
            msg = f"include {glob!r} matches none of the {len(names)} linear layers{example}"
            raise ValueError(msg)


def _why_not(
    model: torch.nn.Module,
    places: list[tuple[str, ...]],
    globs: tuple[tuple[str, ...], tuple[str, ...]],
    min_size: int,
    defaults: bool,
) -> dict[tuple[str, ...], str | None]:
    """Say of each linear layer why it is left alone, or None if it is not."""
    notes = {
        names: named_out(names, *globs)
        or _unfit(model.get_submodule(names[0]), min_size)
        or (_kind(names) if defaults else None)
        for names in places
    }
    swapped = {id(model.get_submodule(names[0])) for names, note in notes.items() if note is None}
    for name, module in model.named_modules():
        if id(module) in swapped:
            continue
        kept = {id(parameter) for parameter in module.parameters(recurse=False)}
        for names, note in notes.items():
            if note is None and id(model.get_submodule(names[0]).weight) in kept:
                notes[names] = f"shares its weight with {name}"
    return notes


def _kind(names: tuple[str, ...]) -> str | None:
    """Say what a layer is, if any of its names tells that it is better left dense."""
    kinds = (kind_of_name(f"{name}.weight") for name in names)
    return next((kind for kind in kinds if kind is not None), None)


def _unfit(layer: torch.nn.Linear, min_size: int) -> str | None:
    """Say why a layer cannot be swapped, or is not worth it."""
    if type(layer) is not torch.nn.Linear:
        return f"is a {type(layer).__name__}, which may do more than a Linear"
    if layer.weight.device.type != "cpu":
        return f"on {layer.weight.device}, not the CPU"
    if layer.weight.dtype not in NUMPY_DTYPES:
        return f"dtype {str(layer.weight.dtype).removeprefix('torch.')}"
    if layer.weight.numel() < min_size:
        return f"fewer than {min_size:,} weights"
    before = layer._forward_pre_hooks.values()
    if layer._forward_hooks or not all(isinstance(hook, BasePruningMethod) for hook in before):
        return "has hooks"
    return None


def _pack(
    layer: torch.nn.Linear,
    pattern: Pattern | None,
    done: dict[int, PackedTensor],
    activations: str | None,
    num_threads: int | None,
) -> PackedLinear:
    """Pack a layer, or take the packed weight of one that has the same weight."""
    known = done.get(id(layer.weight))
    if known is not None:
        made = PackedLinear(known, layer.bias, activations=activations)
        made.train(layer.training)
        return made
    made = PackedLinear.from_linear(
        layer, pattern, activations=activations, num_threads=num_threads
    )
    done[id(layer.weight)] = made.packed
    return made


def _put(model: torch.nn.Module, names: tuple[str, ...], made: PackedLinear) -> None:
    for name in names:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, made)


def _report(
    name: str, weight: torch.Tensor, packed: PackedTensor | None, note: str | None
) -> LayerReport:
    return LayerReport(
        name,
        tuple(weight.shape),
        str(weight.dtype).removeprefix("torch."),
        packed is not None,
        note,
        None if packed is None else packed.sparsity,
        weight.nbytes,
        weight.nbytes if packed is None else packed.nbytes,
    )
