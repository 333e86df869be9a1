"""What malformed files are made of: sound ones, and ways to bend them."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable


def st_bytes(header: str | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file of a header as it stands and data."""
    header = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(dtype: str = '"U8"', shape: str = "[1]", offsets: str = "[0,1]") -> str:
    return f'{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}'


def of_parts(parts: Iterable[tuple[str, str, list[int], bytes]], metadata: str = "") -> bytes:
    """A sound safetensors file of the given plain tensors."""
    described, data = [metadata] if metadata else [], b""
    for name, dtype, shape, octets in parts:
        offsets = [len(data), len(data) + len(octets)]
        described.append(f'"{name}":' + entry(f'"{dtype}"', str(shape), str(offsets)))
        data += octets
    return st_bytes("{" + ",".join(described) + "}", data)


def i64(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}q", *numbers)


# The example of FORMAT.md as its four parts; each case below replaces or drops some.
SOUND = {
    "row_offsets": ("I64", [2], i64(0, 2)),
    "shape": ("I64", [2], i64(2, 9)),
    "compressed": ("I8", [3], b"\x01\x02\x03"),
    "bitmask": ("U8", [2, 2], b"\x03\x00\x00\x01"),
}
SOUND_24 = {
    "shape": ("I64", [2, 1], i64(2, 4)),
    "compressed": ("I8", [2, 2], b"\x01\x02\x03\x04"),
    "bitmask": ("U8", [2, 1], b"\x03\x0c"),
}
Part = tuple[str, list[int], bytes]


def of_fc(parts: dict[str, Part], also: str = "") -> bytes:
    dense = [(also, "U8", [1], b"x")] if also else []
    return of_parts([*((f"fc.{suffix}", *part) for suffix, part in parts.items()), *dense])


def packed(*, drop: str = "", also: str = "", **replaced: Part) -> bytes:
    parts = {**SOUND, **replaced}
    return of_fc({suffix: parts[suffix] for suffix in parts if suffix != drop}, also)


def packed_24(**replaced: Part) -> bytes:
    return of_fc({**SOUND_24, **replaced})


def described(text: str) -> bytes:
    """A file of the parts of fc whose metadata says `text` of them."""
    quoted = text.replace('"', '\\"')
    parts = [(f"fc.{suffix}", *part) for suffix, part in SOUND.items()]
    return of_parts(parts, f'"__metadata__":{{"prunepack":"{quoted}"}}')


def npy_bytes(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + data


def npz_bytes(members: dict[str, bytes], **changes: object) -> bytes:
    """An archive of `members`; `changes` go to the directory entry of the last."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, octets in members.items():
            archive.writestr(zipfile.ZipInfo(name), octets)
        for key, value in changes.items():
            setattr(archive.filelist[-1], key, value)
    return file.getvalue()


def npy_header(descr: str = "'|u1'", shape: str = "(1,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
