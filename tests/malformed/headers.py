"""Safetensors files whose header is wrong, and what is said of each."""

from __future__ import annotations

from .making import entry, st_bytes

HEADERS = {
    # --- the length of the header ---
    "empty file": (
        b"",
        "m.safetensors: file must begin with an 8-byte header length, it has 0 bytes",
    ),
    "seven bytes": (
        b"\0" * 7,
        "m.safetensors: file must begin with an 8-byte header length, it has 7 bytes",
    ),
    "header beyond 100 MB": (
        st_bytes("{}", length=100_000_001),
        "m.safetensors: header length must be at most 100000000, got 100000001",
    ),
    "header length all ones": (
        st_bytes("{}", length=2**64 - 1),
        f"m.safetensors: header length must be at most 100000000, got {2**64 - 1}",
    ),
    "header beyond the file": (
        st_bytes("{}", length=3),
        "m.safetensors: header length must fit in the file, 3 is more than the 2 bytes left",
    ),
    # --- its text ---
    "no header": (st_bytes(""), "m.safetensors: header: must begin with '{', begins with b''"),
    "leading space": (
        st_bytes(" {}"),
        "m.safetensors: header: must begin with '{', begins with b' '",
    ),
    "byte order mark": (
        st_bytes(b"\xef\xbb\xbf{}"),
        "m.safetensors: header: must begin with '{', begins with b'\\xef'",
    ),
    "trailing newline": (
        st_bytes("{}\n"),
        "m.safetensors: header: must end with '}' and spaces, ends with '\\n'",
    ),
    "trailing NUL": (
        st_bytes("{}\0"),
        "m.safetensors: header: must end with '}' and spaces, ends with '\\x00'",
    ),
    "not UTF-8": (
        st_bytes(b'{"\xff":' + entry().encode() + b"}", b"x"),
        "m.safetensors: header: must be UTF-8, byte 2 is not",
    ),
    "not JSON": (st_bytes("{a}"), "m.safetensors: header: must be JSON, breaks at character 1"),
    "two objects": (st_bytes("{}{}"), "m.safetensors: header: must be JSON, breaks at character 2"),
    "raw control character": (
        st_bytes('{"a\n":0}'),
        "m.safetensors: header: must be JSON, breaks at character 3",
    ),
    "deep nesting": (
        st_bytes('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
        "m.safetensors: header: must nest a few levels, nests too deeply",
    ),
    "half a surrogate pair": (
        st_bytes('{"\\ud800":' + entry() + "}", b"x"),
        "m.safetensors: header: strings must be Unicode, '\\ud800' holds half a surrogate pair",
    ),
    # --- its numbers ---
    "float": (
        st_bytes('{"a":' + entry(shape="[1.0]") + "}", b"x"),
        "m.safetensors: header: numbers must be natural and below 2**63, got 1.0",
    ),
    "exponent": (
        st_bytes('{"a":' + entry(shape="[1e0]") + "}", b"x"),
        "m.safetensors: header: numbers must be natural and below 2**63, got 1e0",
    ),
    "NaN": (
        st_bytes('{"a":' + entry(shape="[NaN]") + "}", b"x"),
        "m.safetensors: header: numbers must be natural and below 2**63, got NaN",
    ),
    "infinity": (
        st_bytes('{"a":' + entry(offsets="[0,-Infinity]") + "}", b"x"),
        "m.safetensors: header: numbers must be natural and below 2**63, got -Infinity",
    ),
    "negative": (
        st_bytes('{"a":' + entry(shape="[-1]") + "}", b"x"),
        "m.safetensors: header: numbers must be natural and below 2**63, got -1",
    ),
    "minus zero": (
        st_bytes('{"a":' + entry(offsets="[-0,1]") + "}", b"x"),
        "m.safetensors: header: numbers must be natural and below 2**63, got -0",
    ),
    "2**63": (
        st_bytes('{"a":' + entry(shape=f"[{2**63}]") + "}", b"x"),
        f"m.safetensors: header: numbers must be natural and below 2**63, got {2**63}",
    ),
    "ten thousand digits": (
        st_bytes('{"a":' + entry(shape=f"[{'9' * 10_000}]") + "}", b"x"),
        f"m.safetensors: header: numbers must be natural and below 2**63, got {'9' * 40}",
    ),
    "leading zero": (
        st_bytes('{"a":' + entry(shape="[01]") + "}", b"x"),
        "m.safetensors: header: must be JSON, breaks at character 29",
    ),
    # --- keys ---
    "tensor twice": (
        st_bytes('{"a":' + entry() + ',"a":' + entry() + "}", b"x"),
        "m.safetensors: header: key 'a' must appear once, it appears again",
    ),
    "metadata twice": (
        st_bytes('{"__metadata__":{},"__metadata__":{}}'),
        "m.safetensors: header: key '__metadata__' must appear once, it appears again",
    ),
    "key of metadata twice": (
        st_bytes('{"__metadata__":{"k":"1","k":"2"}}'),
        "m.safetensors: __metadata__: key 'k' must appear once, it appears again",
    ),
    "key of a tensor twice": (
        st_bytes('{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x"),
        "m.safetensors: tensor 'a': key 'dtype' must appear once, it appears again",
    ),
    "unknown key of a tensor": (
        st_bytes('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":0}}', b"x"),
        (
            "m.safetensors: tensor 'a': keys must be dtype, shape and data_offsets,"
            " got ['dtype', 'shape', 'data_offsets', 'x']"
        ),
    ),
    "missing key of a tensor": (
        st_bytes('{"a":{"dtype":"U8","shape":[1]}}', b"x"),
        (
            "m.safetensors: tensor 'a': keys must be dtype, shape and data_offsets,"
            " got ['dtype', 'shape']"
        ),
    ),
    # --- types ---
    "metadata null": (
        st_bytes('{"__metadata__":null}'),
        "m.safetensors: __metadata__: must be an object of strings, got None",
    ),
    "metadata of a number": (
        st_bytes('{"__metadata__":{"k":1}}'),
        "m.safetensors: __metadata__: value of 'k' must be a string, got 1",
    ),
    "tensor as a list": (
        st_bytes('{"a":["U8",[1],[0,1]]}', b"x"),
        "m.safetensors: tensor 'a': must be described by an object, got ['U8', [1], [0, 1]]",
    ),
    "dtype not a string": (
        st_bytes('{"a":' + entry(dtype="8") + "}", b"x"),
        "m.safetensors: tensor 'a': dtype must be a code such as 'F32', got 8",
    ),
    "dtype not a code": (
        st_bytes('{"a":' + entry(dtype='"float32"') + "}", b"x"),
        "m.safetensors: tensor 'a': dtype must be a code such as 'F32', got 'float32'",
    ),
    "shape not a list": (
        st_bytes('{"a":' + entry(shape="1") + "}", b"x"),
        "m.safetensors: tensor 'a': shape must be a list of natural numbers, got 1",
    ),
    "bool in shape": (
        st_bytes('{"a":' + entry(shape="[true]") + "}", b"x"),
        "m.safetensors: tensor 'a': shape must be a list of natural numbers, got [True]",
    ),
    "string in offsets": (
        st_bytes('{"a":' + entry(offsets='[0,"1"]') + "}", b"x"),
        "m.safetensors: tensor 'a': data_offsets must be two natural numbers, got [0, '1']",
    ),
    "three offsets": (
        st_bytes('{"a":' + entry(offsets="[0,1,1]") + "}", b"x"),
        "m.safetensors: tensor 'a': data_offsets must be two natural numbers, got [0, 1, 1]",
    ),
    # --- sizes and places ---
    "offsets backwards": (
        st_bytes('{"a":' + entry(offsets="[1,0]") + "}", b"x"),
        "m.safetensors: tensor 'a': data_offsets must not run backwards, got [1, 0]",
    ),
    "span and shape disagree": (
        st_bytes('{"w.0":' + entry('"F32"', "[2]", "[0,4]") + "}", b"xxxx"),
        "m.safetensors: tensor 'w.0': data_offsets span 4 bytes but shape [2] of F32 needs 8",
    ),
    "shape overflows": (
        st_bytes('{"a":' + entry(shape=f"[{2**62},{2**62}]") + "}", b"x"),
        f"m.safetensors: tensor 'a': shape [{2**62}, {2**62}] of U8 is beyond 2**63 bytes",
    ),
    "bytes overflow": (
        st_bytes('{"a":' + entry('"F64"', f"[{2**60}]") + "}", b"x"),
        f"m.safetensors: tensor 'a': shape [{2**60}] of F64 is beyond 2**63 bytes",
    ),
    "overflow behind a zero": (
        st_bytes('{"a":' + entry(shape=f"[0,{2**62},2]", offsets="[0,0]") + "}"),
        f"m.safetensors: tensor 'a': shape [0, {2**62}, 2] of U8 is beyond 2**63 bytes",
    ),
    "overflow of an unknown dtype": (
        st_bytes('{"a":' + entry('"F4"', f"[{2**62},4]") + "}", b"x"),
        f"m.safetensors: tensor 'a': shape [{2**62}, 4] of F4 is beyond 2**63 bytes",
    ),
    "overlap": (
        st_bytes(
            '{"a":' + entry(shape="[2]", offsets="[0,2]") + ',"b":' + entry(offsets="[1,2]") + "}",
            b"xy",
        ),
        "m.safetensors: tensor 'b': begins at 1 and overlaps the tensor before it, which ends at 2",
    ),
    "same bytes twice": (
        st_bytes('{"a":' + entry() + ',"b":' + entry() + "}", b"x"),
        "m.safetensors: tensor 'b': begins at 0 and overlaps the tensor before it, which ends at 1",
    ),
    "empty tensor inside another": (
        st_bytes(
            '{"a":'
            + entry(shape="[2]", offsets="[0,2]")
            + ',"b":'
            + entry(shape="[0]", offsets="[1,1]")
            + "}",
            b"xy",
        ),
        "m.safetensors: tensor 'b': begins at 1 and overlaps the tensor before it, which ends at 2",
    ),
    "hole": (
        st_bytes('{"a":' + entry() + ',"b":' + entry(offsets="[2,3]") + "}", b"xyz"),
        "m.safetensors: tensor 'b': begins at 2 and leaves a hole, the data before it ends at 1",
    ),
    "hole at the start": (
        st_bytes('{"a":' + entry(offsets="[1,2]") + "}", b"xy"),
        "m.safetensors: tensor 'a': begins at 1 and leaves a hole, the data before it ends at 0",
    ),
    "data missing": (
        st_bytes('{"a":' + entry(shape="[2]", offsets="[0,2]") + "}", b"x"),
        "m.safetensors: tensor 'a': ends at 2 but the file has only 1 bytes of data",
    ),
    "data left over": (
        st_bytes('{"a":' + entry() + "}", b"xy"),
        "m.safetensors: data must end with the last tensor at 1, but the file has 2 bytes of data",
    ),
    "data of no tensor": (
        st_bytes("{}", b"x"),
        "m.safetensors: data must end with the last tensor at 0, but the file has 1 bytes of data",
    ),
    "more dimensions than NumPy has": (
        st_bytes('{"a":' + entry(shape=str([1] * 65)) + "}", b"x"),
        "m.safetensors: tensor 'a': NumPy cannot hold 65 dimensions",
    ),
    # --- more of its text, and of its types ---
    "brace alone": (
        st_bytes("{"),
        "m.safetensors: header: must end with '}' and spaces, ends with '{'",
    ),
    "UTF-16": (
        st_bytes("{}".encode("utf-16-le")),
        "m.safetensors: header: must end with '}' and spaces, ends with '\\x00'",
    ),
    "comment": (
        st_bytes("{/**/}"),
        "m.safetensors: header: must be JSON, breaks at character 1",
    ),
    "single quotes": (
        st_bytes("{'a':0}"),
        "m.safetensors: header: must be JSON, breaks at character 1",
    ),
    "deep nesting of objects": (
        st_bytes('{"a":' * 100_000 + "1" + "}" * 100_000),
        "m.safetensors: header: must nest a few levels, nests too deeply",
    ),
    "deep nesting in the metadata": (
        st_bytes('{"__metadata__":' + '{"a":' * 100_000 + "}" * 100_001),
        "m.safetensors: header: must nest a few levels, nests too deeply",
    ),
    "half a surrogate pair in a value": (
        st_bytes('{"__metadata__":{"k":"\\udfff"}}'),
        "m.safetensors: header: strings must be Unicode, '\\udfff' holds half a surrogate pair",
    ),
    "tensor twice, spelt in two ways": (
        st_bytes('{"a":' + entry() + ',"\\u0061":' + entry() + "}", b"x"),
        "m.safetensors: header: key 'a' must appear once, it appears again",
    ),
    "tensor called __metadata__": (
        st_bytes('{"__metadata__":' + entry() + "}", b"x"),
        "m.safetensors: __metadata__: value of 'shape' must be a string, got [1]",
    ),
    "tensor null": (
        st_bytes('{"a":null}'),
        "m.safetensors: tensor 'a': must be described by an object, got None",
    ),
    "shape null": (
        st_bytes('{"a":' + entry(shape="null") + "}", b"x"),
        "m.safetensors: tensor 'a': shape must be a list of natural numbers, got None",
    ),
    "shape in a shape": (
        st_bytes('{"a":' + entry(shape="[[1]]") + "}", b"x"),
        "m.safetensors: tensor 'a': shape must be a list of natural numbers, got [[1]]",
    ),
    "one offset": (
        st_bytes('{"a":' + entry(offsets="[1]") + "}", b"x"),
        "m.safetensors: tensor 'a': data_offsets must be two natural numbers, got [1]",
    ),
    "2**64": (
        st_bytes('{"a":' + entry(offsets=f"[0,{2**64}]") + "}", b"x"),
        f"m.safetensors: header: numbers must be natural and below 2**63, got {2**64}",
    ),
    # --- more sizes and places ---
    "exabytes": (
        st_bytes('{"a":' + entry(shape=f"[{2**62}]", offsets=f"[0,{2**62}]") + "}", b"x"),
        f"m.safetensors: tensor 'a': ends at {2**62} but the file has only 1 bytes of data",
    ),
    "exabytes of an unknown dtype": (
        st_bytes('{"a":' + entry('"X9"', "[1]", f"[0,{2**63 - 1}]") + "}", b"x"),
        f"m.safetensors: tensor 'a': ends at {2**63 - 1} but the file has only 1 bytes of data",
    ),
    "ends that add up beyond 2**63": (
        st_bytes(
            "{"
            + f'"a":{entry(shape=f"[{2**62}]", offsets=f"[0,{2**62}]")},'
            + f'"b":{entry(shape=f"[{2**62}]", offsets=f"[{2**62},{2**63 - 1}]")}'
            + "}"
        ),
        (
            f"m.safetensors: tensor 'b': data_offsets span {2**62 - 1} bytes"
            f" but shape [{2**62}] of U8 needs {2**62}"
        ),
    ),
    "scalar without bytes": (
        st_bytes('{"a":' + entry('"F32"', "[]", "[0,0]") + "}"),
        "m.safetensors: tensor 'a': data_offsets span 0 bytes but shape [] of F32 needs 4",
    ),
    "bytes of nothing": (
        st_bytes('{"a":' + entry('"F32"', "[0]", "[0,4]") + "}", b"xxxx"),
        "m.safetensors: tensor 'a': data_offsets span 4 bytes but shape [0] of F32 needs 0",
    ),
    "half a byte": (
        st_bytes('{"a":' + entry('"F4"', "[3]", "[0,2]") + "}", b"xy"),
        "m.safetensors: tensor 'a': shape [3] of F4 must fill whole bytes",
    ),
    "three quarters of a byte": (
        st_bytes('{"a":' + entry('"F6_E2M3"', "[2]", "[0,2]") + "}", b"xy"),
        "m.safetensors: tensor 'a': shape [2] of F6_E2M3 must fill whole bytes",
    ),
    "span and shape of half bytes disagree": (
        st_bytes('{"a":' + entry('"F4"', "[4]", "[0,4]") + "}", b"wxyz"),
        "m.safetensors: tensor 'a': data_offsets span 4 bytes but shape [4] of F4 needs 2",
    ),
    "ten thousand dimensions": (
        st_bytes('{"a":' + entry(shape=str([1] * 10_000)) + "}", b"x"),
        "m.safetensors: tensor 'a': NumPy cannot hold 10000 dimensions",
    ),
}
