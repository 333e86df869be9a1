"""Sound safetensors files that are no files of masks."""

from __future__ import annotations

import json
from typing import Any

from .making import of_parts

META = "m.safetensors: __metadata__ 'prunepack.masks'"
ONE_MASK = {"w": {"shape": [1, 2], "pattern": None}}


def masks(told: object, dtype: str = "U8", bits: bytes = b"\x03", name: str = "w") -> bytes:
    """A file of one mask of a byte that says `told` of it."""
    text = json.dumps(told if isinstance(told, str) else json.dumps(told))
    metadata = f'"__metadata__":{{"prunepack.masks":{text}}}'
    return of_parts([(name, dtype, [1, 1], bits)], metadata)


def of(shape: object, pattern: object = None, **more: object) -> dict[str, Any]:
    return {"version": 1, "masks": {"w": {"shape": shape, "pattern": pattern, **more}}}


MASKS = {
    "masks: no metadata": (
        of_parts([("w", "U8", [1, 1], b"\x03")]),
        "m.safetensors: must be a file of masks, with the metadata key 'prunepack.masks'",
    ),
    "masks: metadata not JSON": (masks("{"), META + ": must be JSON, breaks at character 1"),
    "masks: metadata nested deeply": (
        masks("[" * 100_000),
        META + ": must nest a few levels, nests too deeply",
    ),
    "masks: metadata a list": (
        masks([]),
        META + ": must hold version 1 and 'masks', got version None",
    ),
    "masks: newer version": (
        masks({"version": 2, "masks": ONE_MASK}),
        META + ": must hold version 1 and 'masks', got version 2",
    ),
    "masks: a list of them": (
        masks({"version": 1, "masks": ["w"]}),
        META + ": must hold version 1 and 'masks', got version 1",
    ),
    "masks: twice": (
        masks('{"version":1,"masks":{"w":0,"w":0}}'),
        META + ": key 'w' must appear once, it appears again",
    ),
    "masks: shape a string": (
        masks(of("x")),
        META + ": 'w' must have a 'shape' and a 'pattern', got [('shape', 'x'), ('pattern', None)]",
    ),
    "masks: shape too large": (
        masks(of([2**62, 9])),
        META + ": 'w' must have a 'shape' and a 'pattern',"
        f" got [('shape', [{2**62}, 9]), ('pattern', None)]",
    ),
    "masks: shape of truths": (
        masks(of([True, 2])),
        META + ": 'w' must have a 'shape' and a 'pattern',"
        " got [('shape', [True, 2]), ('pattern', None)]",
    ),
    "masks: negative shape": (
        masks(of([-1])),
        META + ": numbers must be natural and below 2**63, got -1",
    ),
    "masks: pattern a number": (
        masks(of([1, 2], 3)),
        META + ": 'w' must have a 'shape' and a 'pattern', got [('shape', [1, 2]), ('pattern', 3)]",
    ),
    "masks: another key": (
        masks(of([1, 2], a=1)),
        META + ": 'w' must have a 'shape' and a 'pattern',"
        " got [('shape', [1, 2]), ('pattern', None), ('a', 1)]",
    ),
    "masks: of a tensor that is not there": (
        masks(of([1, 2]), name="v"),
        META + ": must name every tensor of the file and no other, 'v' differs",
    ),
    "masks: more columns than bits": (
        masks(of([1, 9])),
        (
            "m.safetensors: mask 'w' must be U8 of shape (1, 2) for weights of shape (1, 9),"
            " got U8 of shape (1, 1)"
        ),
    ),
    "masks: of int16": (
        masks(of([1, 2]), "I16", b"\x03\0"),
        (
            "m.safetensors: mask 'w' must be U8 of shape (1, 1) for weights of shape (1, 2),"
            " got I16 of shape (1, 1)"
        ),
    ),
    "masks: padding bit set": (
        masks(of([1, 2]), bits=b"\x07"),
        (
            "m.safetensors: mask 'w': bits must have 0 in the padding bits of every row,"
            " got a 1 in row 0"
        ),
    ),
}
