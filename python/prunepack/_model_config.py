"""What a model's ``config.json`` says of sparse tensors, after compressed-tensors.

The object called ``sparsity_config`` sits in ``quantization_config``, up to 0.6 in
``compression_config``, and in the earliest files at the top. Current readers refuse a model that
has it, whatever its format.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import FormatError
from ._regular import read_text
from ._strict_json import parse, plain, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._storage import Storage

FORMATS = ("dense", "sparse-bitmask", "sparse-24-bitmask")
SIZE_LIMIT = 100_000_000
_KEY, _PARENT = "sparsity_config", "quantization_config"
_PARENTS = (_PARENT, "compression_config")
_METHOD = "compressed-tensors"
# What is left of a quantization_config that quantises nothing.
_IDLE = {"quant_method", "version", "format", "quantization_status", "ignore"}
_VERSIONS = {"0.9": "0.14.0.1", "0.3": "0.8.1"}


def read_config(path: Path) -> dict[str, Any]:
    """Read a ``config.json``.

    Raises
    ------
    FormatError
        If it is no JSON object, or names a format of sparse tensors that is not known.
    """
    where = str(path)
    tree = plain(parse(read_text(path, SIZE_LIMIT), where, any_number=True), where)
    if not isinstance(tree, dict):
        msg = f"{where}: must be a JSON object, got {shown(tree)}"
        raise FormatError(msg)
    for parent in (tree, *(tree.get(name) for name in _PARENTS)):
        if isinstance(parent, dict) and parent.get(_KEY) is not None:
            _check_format(parent[_KEY], f"{where}: {_KEY}")
    return tree


def config_text(config: dict[str, Any]) -> str:
    """Return a config as transformers writes it, in the order it has."""
    return json.dumps(config, indent=2, ensure_ascii=False) + "\n"


def without_sparsity(config: dict[str, Any]) -> dict[str, Any]:
    """Return the config of the same model with plain dense tensors."""
    made = {key: value for key, value in config.items() if key != _KEY}
    for name in _PARENTS:
        parent = made.get(name)
        if not isinstance(parent, dict) or _KEY not in parent:
            continue
        left = {key: value for key, value in parent.items() if key != _KEY}
        if any(value for key, value in left.items() if key not in _IDLE):
            made[name] = left
        else:
            del made[name]
    return made


def with_sparsity(
    config: dict[str, Any], storage: Storage, sparsity: float, ignored: Iterable[str]
) -> dict[str, Any]:
    """Return the config of the same model with tensors in a format of compressed-tensors.

    Parameters
    ----------
    config : dict
        What it says so far.
    storage : Storage
        How the tensors are stored.
    sparsity : float
        The share of zeros in the whole model.
    ignored : iterable of str
        The modules with a matrix that is stored dense.

    Raises
    ------
    ValueError
        If the model is quantised by something else: a model has one quantization_config.
    """
    made = without_sparsity(config)
    parent = made.get(_PARENT) or {"quant_method": _METHOD, "version": _VERSIONS[storage.dialect]}
    if not isinstance(parent, dict) or parent.get("quant_method") != _METHOD:
        method = parent.get("quant_method") if isinstance(parent, dict) else parent
        msg = (
            f"the model must not be quantised by anything but {_METHOD} to be stored as"
            f" {storage.format}, its config.json names {shown(method)}"
        )
        raise ValueError(msg)
    sparse = {
        "format": storage.format,
        "global_sparsity": sparsity,
        "ignore": sorted(ignored),
        "registry_requires_subclass": False,
        "sparsity_structure": "2:4" if storage.is_24 else "unstructured",
        "targets": ["Linear"],
    }
    made[_PARENT] = {**parent, _KEY: sparse}
    return made


def _check_format(sparsity: Any, where: str) -> None:
    name = sparsity.get("format") if isinstance(sparsity, dict) else None
    if name not in FORMATS:
        msg = f"{where}: format must be one of {', '.join(FORMATS)}, got {shown(name)}"
        raise FormatError(msg)
