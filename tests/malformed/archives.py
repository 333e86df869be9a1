"""Archives and arrays of NumPy that are wrong."""

from __future__ import annotations

import struct
import zipfile

from .making import npy_bytes, npy_header, npz_bytes

ONE = npy_bytes(npy_header(), b"x")
KNOWN = (
    "bool, complex64, float16, float32, float64,"
    " int16, int32, int64, int8, uint16, uint32, uint64, uint8"
)


NO_HEADER = "m.npz: tensor 'a': must begin with an npy header of version 1 or 2"


def array(header: str, data: bytes = b"x", version: bytes = b"\x01\x00") -> bytes:
    return npz_bytes({"a.npy": npy_bytes(header, data, version)})


def manifest(text: str) -> bytes:
    return npz_bytes({"a.npy": ONE, "prunepack.json": text.encode()})


def moved(archive: bytes, offset: int) -> bytes:
    """Say that the central directory begins somewhere else."""
    return archive[:-6] + struct.pack("<I", offset) + archive[-2:]


NPZ = {
    "not an archive": (b"x" * 100, "m.npz: must be a sound zip archive: …"),
    "not an array": (
        npz_bytes({"a.txt": b""}),
        "m.npz: member 'a.txt': must be an array, with a name in .npy",
    ),
    "member twice": (
        npz_bytes({"a.npy": ONE, "b.npy": ONE}, filename="a.npy", orig_filename="a.npy"),
        "m.npz: member 'a.npy': must be there once, it is there again",
    ),
    "encrypted": (
        npz_bytes({"a.npy": ONE}, flag_bits=1),
        "m.npz: member 'a.npy': must not be encrypted",
    ),
    "another compression": (
        npz_bytes({"a.npy": ONE}, compress_type=zipfile.ZIP_BZIP2),
        "m.npz: member 'a.npy': must be stored or deflated, got compression method 12",
    ),
    "stored bytes out of nothing": (
        npz_bytes({"a.npy": ONE}, file_size=2**31),
        f"m.npz: member 'a.npy': {len(ONE)} bytes cannot hold the {2**31} it claims to have",
    ),
    "deflated beyond what deflate can": (
        npz_bytes({"a.npy": ONE}, file_size=2**31, compress_type=zipfile.ZIP_DEFLATED),
        f"m.npz: member 'a.npy': {len(ONE)} bytes cannot hold the {2**31} it claims to have",
    ),
    "bytes beyond the file": (
        npz_bytes({"a.npy": ONE}, compress_size=2**31),
        f"m.npz: members must fit in the file, they claim {2**31} of its {len(ONE) + 128} bytes",
    ),
    "empty member": (
        npz_bytes({"a.npy": b""}),
        "m.npz: tensor 'a': must begin with an npy header of version 1 or 2",
    ),
    "header of another version": (
        npz_bytes({"a.npy": npy_bytes(npy_header(), b"x", b"\x09\x00")}),
        "m.npz: tensor 'a': must begin with an npy header of version 1 or 2",
    ),
    "header no dict": (
        npz_bytes({"a.npy": npy_bytes("[]", b"x")}),
        "m.npz: tensor 'a': must begin with an npy header of version 1 or 2",
    ),
    "header deeply nested": (
        npz_bytes({"a.npy": npy_bytes("(" * 9000, b"x")}),
        "m.npz: tensor 'a': must begin with an npy header of version 1 or 2",
    ),
    "pickled objects": (
        npz_bytes({"a.npy": npy_bytes(npy_header("'|O'"), b"x")}),
        f"m.npz: tensor 'a': dtype must be {KNOWN}, got '|O'",
    ),
    "bytes without a meaning": (
        npz_bytes({"a.npy": npy_bytes(npy_header("'|V2'"), b"xx")}),
        f"m.npz: tensor 'a': dtype must be {KNOWN}, got '|V2'",
    ),
    "big-endian": (
        npz_bytes({"a.npy": npy_bytes(npy_header("'>f2'"), b"xx")}),
        f"m.npz: tensor 'a': dtype must be {KNOWN}, got '>f2'",
    ),
    "negative dimension": (
        npz_bytes({"a.npy": npy_bytes(npy_header(shape="(-1,)"), b"x")}),
        "m.npz: tensor 'a': 1 bytes do not make an array of shape (-1,) of uint8",
    ),
    "huge shape": (
        npz_bytes({"a.npy": npy_bytes(npy_header(shape=f"({2**62}, 9)"), b"x")}),
        f"m.npz: tensor 'a': 1 bytes do not make an array of shape ({2**62}, 9) of uint8",
    ),
    "array cut short": (
        npz_bytes({"a.npy": npy_bytes(npy_header(shape="(2,)"), b"x")}),
        "m.npz: tensor 'a': 1 bytes do not make an array of shape (2,) of uint8",
    ),
    "bytes left over": (
        npz_bytes({"a.npy": ONE + b"x"}),
        "m.npz: tensor 'a': 2 bytes do not make an array of shape (1,) of uint8",
    ),
    "wrong checksum": (
        npz_bytes({"a.npy": ONE}).replace(b"\nx", b"\ny"),
        "m.npz: tensor 'a': must be a sound zip archive: …",
    ),
    "manifest not UTF-8": (
        npz_bytes({"prunepack.json": b"\xff"}),
        "m.npz: prunepack.json: must be UTF-8, byte 0 is not",
    ),
    "manifest not JSON": (
        manifest("{"),
        "m.npz: prunepack.json: must be JSON, breaks at character 1",
    ),
    "manifest of a newer version": (
        manifest('{"version":2}'),
        "m.npz: prunepack.json: must hold version 1, 'metadata' and 'dtypes', got version 2",
    ),
    "manifest with a number": (
        manifest('{"version":1,"metadata":{"k":1},"dtypes":{}}'),
        "m.npz: prunepack.json: 'metadata' must be an object of strings, got [('k', 1)]",
    ),
    "manifest of another array": (
        manifest('{"version":1,"metadata":{},"dtypes":{"b":"BF16"}}'),
        "m.npz: prunepack.json: 'dtypes' names 'b', which is not in the archive",
    ),
    "dtype of another width": (
        manifest('{"version":1,"metadata":{},"dtypes":{"a":"BF16"}}'),
        "m.npz: tensor 'a': prunepack.json must name a dtype stored as uint8, it says 'BF16'",
    ),
    "dtype nobody knows": (
        manifest('{"version":1,"metadata":{},"dtypes":{"a":"F4"}}'),
        "m.npz: tensor 'a': prunepack.json must name a dtype stored as uint8, it says 'F4'",
    ),
    # --- headers of arrays ---
    "no header's text": (array("", version=b"\x01\x00"), NO_HEADER),
    "header of version 3": (array(npy_header(), version=b"\x03\x00"), NO_HEADER),
    "header cut short": (npz_bytes({"a.npy": ONE[:30]}), NO_HEADER),
    "header of four gigabytes": (
        npz_bytes({"a.npy": b"\x93NUMPY\x02\x00" + b"\xff" * 4 + b"{"}),
        NO_HEADER,
    ),
    "header of ten thousand bytes and one": (array(npy_header() + " " * 10_000), NO_HEADER),
    "header without a shape": (array("{'descr': '|u1', 'fortran_order': False}"), NO_HEADER),
    "header with a key twice": (
        array("{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (1,)}"),
        NO_HEADER,
    ),
    "header with a key nobody knows": (
        array("{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'x': 1}"),
        NO_HEADER,
    ),
    "header with more behind it": (array(npy_header() + "+ 1"), NO_HEADER),
    "header that is a call": (array("__import__('os').system('true')"), NO_HEADER),
    "fortran_order a number": (
        array("{'descr': '|u1', 'fortran_order': 1, 'shape': (1,)}"),
        NO_HEADER,
    ),
    "shape a number in brackets": (array(npy_header(shape="(1)")), NO_HEADER),
    "shape of floats": (array(npy_header(shape="(1.0,)")), NO_HEADER),
    "shape with nothing between commas": (array(npy_header(shape="(1,,1)")), NO_HEADER),
    "shape of ten thousand digits": (array(npy_header(shape=f"({'1' * 9_000},)")), NO_HEADER),
    "shape of a thousand dimensions": (
        array(npy_header(shape="(" + "1," * 1_000 + ")")),
        "m.npz: tensor 'a': NumPy cannot hold 1000 dimensions",
    ),
    "array with fields": (
        array(npy_header("[('x', '<f4'), ('y', '<f4')]")),
        f"m.npz: tensor 'a': dtype must be {KNOWN}, got \"[('x', '<f4'), ('y', '<f4')]\"",
    ),
    "dtype of a gigabyte": (
        array(npy_header("'|S1000000000'")),
        f"m.npz: tensor 'a': dtype must be {KNOWN}, got '|S1000000000'",
    ),
    # --- archives ---
    "central directory cut short": (
        npz_bytes({"a.npy": ONE})[:-30],
        "m.npz: must be a sound zip archive: …",
    ),
    "central directory elsewhere": (
        moved(npz_bytes({"a.npy": ONE}), 2**31),
        "m.npz: tensor 'a': must be a sound zip archive: it points outside itself",
    ),
    "other name where the member is": (
        npz_bytes({"a.npy": ONE}).replace(b"a.npy", b"b.npy", 1),
        "m.npz: tensor 'a': must be a sound zip archive: …",
    ),
    "long name where the member is": (
        # so long that the message would quote a kilobyte
        npz_bytes({"a.npy": ONE + bytes(900)}).replace(b"\5\0\0\0a.npy", b"\xff\3\0\0a.npy", 1),
        "m.npz: tensor 'a': must be a sound zip archive: …",
    ),
    "two members in the same bytes": (
        npz_bytes({"a.npy": ONE + bytes(900), "b.npy": b""}, compress_size=len(ONE) + 900),
        "m.npz: members must fit in the file, they claim 1938 of its 1163 bytes",
    ),
    "less than there is": (
        npz_bytes({"a.npy": ONE + bytes(9)}, file_size=len(ONE)),
        "m.npz: tensor 'a': must be a sound zip archive: …",
    ),
    # --- the manifest ---
    "manifest a list": (
        manifest("[]"),
        "m.npz: prunepack.json: must hold version 1, 'metadata' and 'dtypes', got version None",
    ),
    "manifest nested deeply": (
        manifest("[" * 100_000),
        "m.npz: prunepack.json: must nest a few levels, nests too deeply",
    ),
    "manifest with a key twice": (
        manifest('{"version":1,"version":1,"metadata":{},"dtypes":{}}'),
        "m.npz: prunepack.json: key 'version' must appear once, it appears again",
    ),
    "manifest with dtypes in a list": (
        manifest('{"version":1,"metadata":{},"dtypes":["BF16"]}'),
        "m.npz: prunepack.json: 'dtypes' must be an object of strings, got ['BF16']",
    ),
}

NO_NPY_HEADER = "m.npy: must begin with an npy header of version 1 or 2"

NPY = {
    "npy empty": (b"", NO_NPY_HEADER),
    "npy of another magic": (ONE.replace(b"NUMPY", b"NUMPI"), NO_NPY_HEADER),
    "npy a pickle": (b"\x80\x04N.", NO_NPY_HEADER),
    "npy cut in its magic": (ONE[:5], NO_NPY_HEADER),
    "npy cut in its header": (ONE[:20], NO_NPY_HEADER),
    "npy with a header of four gigabytes": (
        b"\x93NUMPY\x02\x00" + b"\xff" * 4 + b"{",
        NO_NPY_HEADER,
    ),
    "npy of pickled objects": (
        npy_bytes(npy_header("'|O'"), b"\x80\x04N."),
        f"m.npy: dtype must be {KNOWN}, got '|O'",
    ),
    "npy with a byte left over": (
        ONE + b"x",
        "m.npy: 2 bytes do not make an array of shape (1,) of uint8",
    ),
    "npy cut in its array": (
        ONE[:-1],
        "m.npy: 0 bytes do not make an array of shape (1,) of uint8",
    ),
    "npy of exabytes": (
        npy_bytes(npy_header("'<f8'", f"({2**60}, 0)")),
        f"m.npy: 0 bytes do not make an array of shape ({2**60}, 0) of float64",
    ),
}
