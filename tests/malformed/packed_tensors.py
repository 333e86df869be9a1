"""Sound safetensors files of parts that make no packed tensor."""

from __future__ import annotations

from .making import described, i64, packed, packed_24

W = "m.safetensors: packed tensor 'fc.weight': "
META = "m.safetensors: __metadata__ 'prunepack': "

PACKED = {
    # --- packed tensors: which there are ---
    "metadata not JSON": (described("no"), META[:-2] + ": must be JSON, breaks at character 0"),
    "metadata not an object": (
        described("[]"),
        META + "must hold version 1 and 'packed', got version None",
    ),
    "newer version": (
        described('{"version":2,"packed":{}}'),
        META + "must hold version 1 and 'packed', got version 2",
    ),
    "packed not an object": (
        described('{"version":1,"packed":[]}'),
        META + "'packed' must be an object, got []",
    ),
    "packed without a prefix": (
        described('{"version":1,"packed":{"fc":{"pattern":null}}}'),
        META + "'fc' must have a 'prefix' and a 'pattern', got [('pattern', None)]",
    ),
    "pattern not a string": (
        described('{"version":1,"packed":{"fc":{"prefix":"fc","pattern":1}}}'),
        META + "'fc' must have a 'prefix' and a 'pattern', got [('prefix', 'fc'), ('pattern', 1)]",
    ),
    "name packed twice": (
        described('{"version":1,"packed":{"fc":0,"fc":0}}'),
        META + "key 'fc' must appear once, it appears again",
    ),
    "parts of two tensors": (
        described(
            '{"version":1,"packed":{"a":{"prefix":"fc","pattern":null},'
            '"b":{"prefix":"fc","pattern":null}}}'
        ),
        "m.safetensors: packed tensor 'b': prefix 'fc' already belongs to 'a'",
    ),
    "parts not there": (
        described('{"version":1,"packed":{"a":{"prefix":"a","pattern":null}}}'),
        "m.safetensors: packed tensor 'a': part 'a.shape' is missing",
    ),
    "packed and dense": (
        packed(also="fc.weight"),
        "m.safetensors: tensor 'fc.weight' must be stored once, it is there both packed and dense",
    ),
    "no shape": (packed(drop="shape"), W + "part 'fc.shape' is missing"),
    "no compressed": (packed(drop="compressed"), W + "part 'fc.compressed' is missing"),
    "no bitmask": (packed(drop="bitmask"), W + "part 'fc.bitmask' is missing"),
    "no row_offsets": (packed(drop="row_offsets"), W + "part 'fc.row_offsets' is missing"),
    # --- packed tensors: their parts ---
    "shape of floats": (
        packed(shape=("F32", [2], bytes(8))),
        W + "shape must be a 1-D tensor of integers, got float32 of shape (2,)",
    ),
    "shape of rank 0": (
        packed(shape=("I64", [], i64(2))),
        W + "shape must be a 1-D tensor of integers, got int64 of shape ()",
    ),
    "shape of an unknown dtype": (
        packed(shape=("I65", [2], bytes(16))),
        W + "shape must have a known dtype, got I65",
    ),
    "negative shape": (
        packed(shape=("I64", [2], i64(-2, 9))),
        W + "shape must be natural numbers whose product fits, got (-2, 9)",
    ),
    "shape too large": (
        packed(shape=("I64", [2], i64(2**40, 2**40))),
        W + f"shape must be natural numbers whose product fits, got ({2**40}, {2**40})",
    ),
    "bitmask of int8": (
        packed(bitmask=("I8", [2, 2], b"\x03\x00\x00\x01")),
        W + "bitmask must be uint8 of shape (2, 2) for a tensor of shape (2, 9),"
        " got int8 of shape (2, 2)",
    ),
    "bitmask of another shape": (
        packed(bitmask=("U8", [4], b"\x03\x00\x00\x01")),
        W + "bitmask must be uint8 of shape (2, 2) for a tensor of shape (2, 9),"
        " got uint8 of shape (4,)",
    ),
    "more columns than bits": (
        packed(shape=("I64", [2], i64(2, 17))),
        W + "bitmask must be uint8 of shape (2, 3) for a tensor of shape (2, 17),"
        " got uint8 of shape (2, 2)",
    ),
    "padding bit set": (
        packed(bitmask=("U8", [2, 2], b"\x03\x02\x00\x00")),
        W + "mask must have 0 in the padding bits of every row, got a 1 in row 0",
    ),
    "mask keeps more than there is": (
        packed(bitmask=("U8", [2, 2], b"\x07\x00\x00\x01")),
        W + "values must have shape (4,), one for each 1 of the mask, got (3,)",
    ),
    "mask keeps less than there is": (
        packed(bitmask=("U8", [2, 2], b"\x03\x00\x00\x00")),
        W + "values must have shape (2,), one for each 1 of the mask, got (3,)",
    ),
    "values of a dtype nobody packs": (
        packed(compressed=("I16", [3], bytes(6))),
        W + "compressed must have a dtype that can be packed, got int16",
    ),
    "values of rank 2": (
        packed(compressed=("I8", [3, 1], b"\x01\x02\x03")),
        W + "compressed must have 1 dimension, got shape (3, 1)",
    ),
    "row_offsets of int32": (
        packed(row_offsets=("I32", [2], bytes(8))),
        W + "row_offsets must be int64 of shape (2,), got int32 of shape (2,)",
    ),
    "row_offsets one short": (
        packed(row_offsets=("I64", [1], i64(0))),
        W + "row_offsets must be int64 of shape (2,), got int64 of shape (1,)",
    ),
    "row_offsets out of order": (
        packed(row_offsets=("I64", [2], i64(2, 0))),
        W
        + "row_offsets must count the values before each row, row 0 says 2 where the bitmask has 0",
    ),
    "row_offsets of another mask": (
        packed(row_offsets=("I64", [2], i64(0, 1))),
        W
        + "row_offsets must count the values before each row, row 1 says 1 where the bitmask has 2",
    ),
    "rows without columns": (
        packed(
            shape=("I64", [2], i64(2**40, 0)),
            bitmask=("U8", [2**40, 0], b""),
            compressed=("I8", [0], b""),
        ),
        W + f"row_offsets must be int64 of shape ({2**40},), got int64 of shape (2,)",
    ),
    # --- sparse-24-bitmask ---
    "2:4 values of rank 1": (
        packed_24(compressed=("I8", [4], b"\x01\x02\x03\x04")),
        W + "compressed must have 2 dimensions in sparse-24-bitmask, got shape (4,)",
    ),
    "2:4 with row_offsets": (
        packed_24(row_offsets=("I64", [2], i64(0, 2))),
        W + "sparse-24-bitmask has no row_offsets, found 'fc.row_offsets'",
    ),
    "2:4 mask that keeps three": (
        packed_24(bitmask=("U8", [2, 1], b"\x03\x0e")),
        W + "bitmask must keep 2 of every 4 weights, group 1 does not",
    ),
    "2:4 of broken groups": (
        packed_24(compressed=("I8", [1, 1], b"\x01"), bitmask=("U8", [1, 1], b"\x03")),
        W + "sparse-24-bitmask needs groups of four, got shape (1, 2)",
    ),
    "2:4 rows without columns": (
        packed_24(compressed=("I8", [2**40, 0], b""), bitmask=("U8", [2**40, 0], b"")),
        W + f"sparse-24-bitmask needs groups of four, got shape ({2**40}, 0)",
    ),
    # --- more ways in which parts disagree ---
    "shape beyond every integer": (
        packed(shape=("U64", [2], i64(-1, 9))),
        W + f"shape must be natural numbers whose product fits, got ({2**64 - 1}, 9)",
    ),
    "shape of truths": (
        packed(shape=("BOOL", [2], b"\1\1")),
        W + "shape must be a 1-D tensor of integers, got bool of shape (2,)",
    ),
    "shape of one dimension": (
        packed(shape=("I64", [1], i64(18))),
        W + "bitmask must be uint8 of shape (3,) for a tensor of shape (18,),"
        " got uint8 of shape (2, 2)",
    ),
    "shape of a hundred dimensions": (
        packed(shape=("I64", [100], i64(*[1] * 99, 9))),
        W + "bitmask must be uint8 of shape (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ...)"
        " for a tensor of shape (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ...), got uint8 of shape (2, 2)",
    ),
    "shape of an empty tensor": (
        packed(shape=("I64", [2], i64(2, 0))),
        W + "bitmask must be uint8 of shape (2, 0) for a tensor of shape (2, 0),"
        " got uint8 of shape (2, 2)",
    ),
    "bitmask of an unknown dtype": (
        packed(bitmask=("U4", [2, 2], b"\x03\x00\x00\x01")),
        W + "bitmask must have a known dtype, got U4",
    ),
    "values of an unknown dtype": (
        packed(compressed=("F4", [4], b"\x01\x02")),
        W + "compressed must have a dtype that can be packed, got F4",
    ),
    "row_offsets of an unknown dtype": (
        packed(row_offsets=("I128", [2], bytes(32))),
        W + "row_offsets must have a known dtype, got I128",
    ),
    "negative row_offsets": (
        packed(row_offsets=("I64", [2], i64(-(2**63), 2))),
        W + "row_offsets must count the values before each row,"
        f" row 0 says {-(2**63)} where the bitmask has 0",
    ),
    "row_offsets beyond the values": (
        packed(row_offsets=("I64", [2], i64(0, 2**63 - 1))),
        W + "row_offsets must count the values before each row,"
        f" row 1 says {2**63 - 1} where the bitmask has 2",
    ),
    "no values": (
        packed(compressed=("I8", [0], b"")),
        W + "values must have shape (3,), one for each 1 of the mask, got (0,)",
    ),
    "values of rank 0": (
        packed(compressed=("I8", [], b"\x01")),
        W + "compressed must have 1 dimension, got shape ()",
    ),
    "metadata of two objects": (
        described("{}{}"),
        META[:-2] + ": must be JSON, breaks at character 2",
    ),
    "metadata nested deeply": (
        described("[" * 100_000),
        META[:-2] + ": must nest a few levels, nests too deeply",
    ),
    "metadata with a negative version": (
        described('{"version":-1,"packed":{}}'),
        META[:-2] + ": numbers must be natural and below 2**63, got -1",
    ),
    "prefix of another tensor's part": (
        described('{"version":1,"packed":{"a":{"prefix":"fc.shape","pattern":null}}}'),
        "m.safetensors: packed tensor 'a': part 'fc.shape.shape' is missing",
    ),
    "2:4 values nobody packs": (
        packed_24(compressed=("I16", [2, 2], bytes(8))),
        W + "compressed must have a dtype that can be packed, got int16",
    ),
    "2:4 bitmask of another shape": (
        packed_24(bitmask=("U8", [1, 2], b"\x03\x0c")),
        W + "bitmask must be uint8 of shape (2, 1) for a tensor of shape (2, 4),"
        " got uint8 of shape (1, 2)",
    ),
    "2:4 padding bit set": (
        packed_24(bitmask=("U8", [2, 1], b"\x13\x0c")),
        W + "mask must have 0 in the padding bits of every row, got a 1 in row 0",
    ),
}
