"""Ways to spoil a file that was sound: its bytes, its JSON, its arrays, its lines of text."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

from .choices import Choices

NUMBERS = (0, 1, 2, 3, 4, 7, 8, 9, 255, 2**31 - 1, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63)
WORDS = (
    *("F32", "U8", "I64", "BF16", "F4", "BOOL", "C64", "f32", "", "fc", "fc.weight", "x.bitmask"),
    *("__metadata__", "prunepack", "shape", "bitmask", "row_offsets", "compressed", "data_offsets"),
    *("../x.safetensors", "/etc/passwd", "a\\b.safetensors", "model.safetensors", "2:4", "0:0"),
    *("sparse-24-bitmask", "sparse-bitmask", "dense", "skip", "*", "[", "é\U0001f600", "a\x00b"),
)


def spoil_bytes(octets: bytes, choices: Choices) -> bytes:
    """Change, cut, insert or repeat some bytes."""
    kind, at = choices.below(7), choices.number(2) % (len(octets) + 1)
    before, after = octets[:at], octets[at:]
    if kind == 0:
        flipped = bytes([after[0] ^ 1 << choices.below(8)]) if after else b""
        return before + flipped + after[1:]
    if kind == 1:
        return before
    if kind == 2:
        return before + after[1 + choices.below(64) :]
    if kind == 3:
        return before + choices.octets(1 + choices.below(16)) + after
    if kind == 4:
        written = struct.pack("<Q", choices.of(NUMBERS))[: 1 << choices.below(4)]
        return before + written + after[len(written) :]
    if kind == 5:
        return before + after[: 1 + choices.below(64)] + after
    return before + choices.octets(4) + after[4:]


# --- JSON -------------------------------------------------------------------------------------


class Pairs(list[tuple[str, Any]]):
    """An object as pairs, so that a key can be there twice."""


def parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=Pairs)


def dumped(tree: Any) -> str:
    if isinstance(tree, Pairs):
        return "{" + ",".join(f"{json.dumps(key)}:{dumped(value)}" for key, value in tree) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(map(dumped, tree)) + "]"
    if isinstance(tree, Text):
        return str(tree)
    return json.dumps(tree)


class Text(str):
    """JSON text that stands for itself, such as a number Python would write in another way."""


def some_value(choices: Choices) -> Any:
    kind = choices.below(8)
    if kind == 0:
        return choices.of(NUMBERS)
    if kind == 1:
        return choices.of(WORDS)
    if kind == 2:
        return choices.of((None, True, False, [], Pairs(), -1, 0.5, Text("NaN"), Text("1e999")))
    if kind == 3:
        return [choices.of(NUMBERS) for _ in range(choices.below(5))]
    if kind == 4:
        depth = 1 + choices.number(2) % 20_000
        return Text("[" * depth + "]" * depth)
    if kind == 5:
        return Text(choices.of(("9", "0", "1")) * (1 + choices.number(2) % 6_000))
    if kind == 6:
        return choices.of(WORDS) * (1 + choices.number(2) % 2_000)
    return Pairs([(choices.of(WORDS), choices.of(NUMBERS))])


def _places(tree: Any) -> list[tuple[list[Any], int]]:
    """Return every place in a tree: the list it is in, and the index in it."""
    found = []
    if isinstance(tree, list):
        for index, item in enumerate(tree):
            found.append((tree, index))
            found += _places(item[1] if isinstance(tree, Pairs) else item)
    return found


def spoil_tree(tree: Any, choices: Choices) -> Any:
    """Replace, rename, remove, repeat or swap something in a tree, in place where that is possible."""
    places = _places(tree)
    if not places:
        return some_value(choices)
    holder, index = places[choices.number(2) % len(places)]
    item, kind = holder[index], choices.below(7)
    key = item[0] if isinstance(holder, Pairs) else None
    value = item if key is None else item[1]
    if kind == 0:
        del holder[index]
        return tree
    if kind == 1:
        holder.insert(choices.below(len(holder) + 1), item)
        return tree
    if kind == 2 and key is not None:
        holder[index] = (choices.of(WORDS), value)
        return tree
    if kind == 3 and isinstance(value, int):
        value = max(0, value + choices.of((-8, -1, 1, 8)))
    elif kind == 4:
        other, there = places[choices.number(2) % len(places)]
        found = other[there]
        value = found[1] if isinstance(other, Pairs) else found
        value = parsed(dumped(value)) if isinstance(value, list) else value
    elif isinstance(value, str) and value[:1] == "{":  # JSON in a string, as in the metadata
        value = spoil_json(value, choices)
    else:
        value = some_value(choices)
    holder[index] = value if key is None else (key, value)
    return tree


def spoil_json(text: str, choices: Choices) -> str:
    """Spoil JSON at one place; text that is no JSON any more is spoilt as bytes."""
    try:
        return dumped(spoil_tree(parsed(text), choices))
    except (ValueError, RecursionError):
        return spoil_bytes(text.encode(errors="replace"), choices).decode(errors="replace")


# --- files ------------------------------------------------------------------------------------


def spoil_safetensors(octets: bytes, choices: Choices) -> bytes:
    """Spoil the header as JSON, keeping its length right, or the data as integers."""
    length = int.from_bytes(octets[:8], "little")
    header, data = octets[8 : 8 + length], octets[8 + length :]
    kind = choices.below(4)
    if kind == 3 and data:
        at = choices.number(2) % (len(data) // 8 + 1) * 8
        value = (choices.of(NUMBERS) - choices.below(2)) % 2**64
        data = data[:at] + struct.pack("<Q", value) + data[at + 8 :]
    else:
        text = spoil_json(header.decode(errors="replace"), choices)
        header = text.encode(errors="replace")
    return struct.pack("<Q", len(header)) + header + data


def spoil_npy(octets: bytes, choices: Choices) -> bytes:
    """Spoil the text of the header, keeping its length right."""
    length = int.from_bytes(octets[8:10], "little")
    text, data = octets[10 : 10 + length], octets[10 + length :]
    words = (
        "(",
        ")",
        "-1",
        "9" * 30,
        "'|O'",
        "'<f4'",
        "'>f4'",
        "'V8'",
        "True",
        "descr",
        ",",
        "1" * 20,
    )
    at = choices.number(1) % (len(text) + 1)
    put = choices.of(words).encode() * (
        1 + choices.number(2) % (2_000 if choices.below(4) == 0 else 1)
    )
    text = text[:at] + put + text[at + choices.below(8) :]
    return octets[:8] + struct.pack("<H", len(text) % 65_536) + text + data


def spoil_npz(octets: bytes, choices: Choices) -> bytes:
    """Make the archive anew with one member spoilt, renamed, left out, repeated or squeezed."""
    try:
        with zipfile.ZipFile(io.BytesIO(octets)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:  # noqa: BLE001 (spoilt before)
        return spoil_bytes(octets, choices)
    if not members:
        return spoil_bytes(octets, choices)
    index, kind = choices.below(len(members)), choices.below(6)
    name, content = members[index]
    if kind == 0:
        del members[index]
    elif kind == 1:
        members[index] = (choices.of((*WORDS[:-1], "x.npy", "../x.npy", "x.txt")), content)
    elif kind == 2 and name.endswith(".json"):
        members[index] = (name, spoil_json(content.decode(errors="replace"), choices).encode())
    elif kind < 5:
        members[index] = (name, spoil_npy(content, choices))
    else:
        members[index] = (name, spoil_bytes(content, choices))
    buffer = io.BytesIO()
    method = choices.of((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # of a name that is there twice
        for member, inside in members:
            archive.writestr(zipfile.ZipInfo(member or "empty"), inside, method)
    return buffer.getvalue()


def spoil_toml(octets: bytes, choices: Choices) -> bytes:
    """Replace the value or the key of a line, repeat it, or put another after it."""
    lines = octets.decode(errors="replace").split("\n")
    index, kind = choices.below(len(lines)), choices.below(5)
    key, _, value = lines[index].partition("=")
    depth = 1 + choices.number(2) % 3_000
    values = (
        *("0", "-1", "nan", "inf", "1e400", "true", "[]", "{}", '""', '"2:4"', '"9:9"', '"0x4"'),
        *('"*x*"', "[1,2]", '["*"]', '["*", "x"]', "2024-01-01", "00:00:00", '"model"', '"row"'),
        *('"[a"', '"(" ', '"skip"', '"a{9999999999}"', "'''x", '"l1"', '{"a"=1}'),
        *(
            "9" * depth,
            "0." + "9" * depth,
            '"' + "9" * depth + ':4"',
            "[" * depth,
            '"' + "x" * depth,
        ),
        *("[" * depth + "]" * depth, '"' + "(" * depth + '"', '"' + "*" * min(depth, 300) + 'a"'),
    )
    keys = (
        *("name", "regex", "dtype", "shape", "min_rank", "max_size", "then", "sparsity", "scope"),
        *("nm", "axis", "block", "norm", "threshold", "normalize", "min_sparsity", "max_sparsity"),
        *("rule", "[[rule]]\nname", "[rule]\nx", "a" + ".a" * depth, '""', "é", "rule.x"),
    )
    if kind == 0:
        lines[index] = f"{key}={choices.of(values)}"
    elif kind == 1:
        lines[index] = f"{choices.of(keys)}={value or '1'}"
    elif kind == 2:
        lines.insert(index, lines[choices.below(len(lines))])
    elif kind == 3:
        lines.insert(index + 1, f"{choices.of(keys)} = {choices.of(values)}")
    else:
        del lines[index]
    return "\n".join(lines).encode()


def spoil_index(octets: bytes, choices: Choices) -> bytes:
    return spoil_json(octets.decode(errors="replace"), choices).encode(errors="replace")


SPOIL: dict[str, Callable[[bytes, Choices], bytes]] = {
    ".safetensors": spoil_safetensors,
    ".npz": spoil_npz,
    ".npy": spoil_npy,
    ".toml": spoil_toml,
    ".json": spoil_index,
}
