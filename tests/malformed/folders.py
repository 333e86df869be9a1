"""Folders of models whose files do not agree, or lead elsewhere: index, config and links."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from .making import entry, st_bytes

INDEX = "model.safetensors.index.json"
SHARD, OTHER = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
SOUND = {
    SHARD: st_bytes('{"a":' + entry() + "}", b"x"),
    OTHER: st_bytes('{"b":' + entry() + "}", b"y"),
}


class Link(str):
    """What a link leads to."""


Files: TypeAlias = "dict[str, bytes | Link]"


def indexed(weight_map: Any, files: Files | None = None, **more: Any) -> Files:
    """A folder of two shards and an index that says this."""
    index = (
        weight_map
        if isinstance(weight_map, str)
        else json.dumps({"weight_map": weight_map, **more})
    )
    return {**SOUND, INDEX: index.encode("latin-1"), **(files or {})}


def elsewhere(shard: Any) -> Files:
    return indexed({"a": SHARD, "b": OTHER, "ghost": shard})


def configured(config: Any) -> Files:
    """A sound folder with this config.json."""
    text = config if isinstance(config, str) else json.dumps(config)
    return indexed({"a": SHARD, "b": OTHER}, {"config.json": text.encode()})


def beside(shown: str) -> str:
    return f"model/{INDEX}: tensor 'ghost': must be in a .safetensors file beside the index, got {shown}"


NESTED = "must nest a few levels, nests too deeply"
NO_MAP = f"model/{INDEX}: must be an object with a 'weight_map', got "
FORMAT = "model/config.json: sparsity_config: format must be one of dense, sparse-bitmask,"
FORMAT += " sparse-24-bitmask, got "

FOLDERS: dict[str, tuple[Files, str]] = {
    # --- what leads out of the folder ---
    "index: shard in the folder above": (
        elsewhere("../x.safetensors"),
        beside("'../x.safetensors'"),
    ),
    "index: shard in a folder below": (elsewhere("a/b.safetensors"), beside("'a/b.safetensors'")),
    "index: shard at the root": (elsewhere("/x.safetensors"), beside("'/x.safetensors'")),
    "index: shard of Windows": (elsewhere("a\\b.safetensors"), beside("'a\\\\b.safetensors'")),
    "index: shard with a NUL": (elsewhere("a\0.safetensors"), beside("'a\\x00.safetensors'")),
    "index: shard the folder above": (elsewhere(".."), beside("'..'")),
    "index: shard nothing": (elsewhere(""), beside("''")),
    "index: shard a number": (elsewhere(3), beside("3")),
    "index: shard of another kind": (elsewhere("x.bin"), beside("'x.bin'")),
    "index: shard a list": (elsewhere([SHARD]), beside(f"['{SHARD}']")),
    "shard a link to a file that is no shard": (
        indexed({"a": SHARD, "b": OTHER}, {OTHER: Link("/proc/self/cmdline")}),
        f"model/{OTHER}: file must begin with an 8-byte header length, it has 0 bytes",
    ),
    "shard a link to nothing": (
        indexed({"a": SHARD, "b": OTHER}, {OTHER: Link("gone")}),
        f"model/{OTHER}: must be a file or a folder to be carried along, it is a link to nothing",
    ),
    "shard a link to itself": (
        indexed({"a": SHARD, "b": OTHER}, {OTHER: Link(OTHER)}),
        f"model/{OTHER}: must be a file or a folder to be carried along, it is a link to nothing",
    ),
    "link to the folder it is in": (
        indexed({"a": SHARD, "b": OTHER}, {"again": Link(".")}),
        "model/again: must not be a link to a folder that it is in",
    ),
    # --- the index ---
    "index: empty": (indexed(""), f"model/{INDEX}: must be JSON, breaks at character 0"),
    "index: not UTF-8": (indexed("\xff"), f"model/{INDEX}: must be UTF-8, byte 0 is not"),
    "index: a list": (indexed("[]"), NO_MAP + "[]"),
    "index: map a list": (indexed([]), NO_MAP + "[('weight_map', [])]"),
    "index: no map": (indexed('{"metadata": {}}'), NO_MAP + "[('metadata', [])]"),
    "index: tensor twice": (
        indexed('{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}'),
        f"model/{INDEX}: weight_map: key 'a' must appear once, it appears again",
    ),
    "index: map twice": (
        indexed('{"weight_map": {}, "weight_map": {}}'),
        f"model/{INDEX}: key 'weight_map' must appear once, it appears again",
    ),
    "index: key of its metadata twice": (
        indexed('{"weight_map": {"a": "x.safetensors"}, "metadata": {"k": 1, "k": 1}}'),
        f"model/{INDEX}: key 'k' must appear once, it appears again",
    ),
    "index: nested deeply": (indexed("[" * 100_000), f"model/{INDEX}: {NESTED}"),
    "index: metadata nested deeply": (
        indexed('{"weight_map": {}, "metadata": ' + '{"a":' * 100_000),
        f"model/{INDEX}: {NESTED}",
    ),
    "index: thousands of digits": (
        indexed('{"weight_map": {}, "metadata": {"total_size": ' + "9" * 5_000 + "}}"),
        f"model/{INDEX}: numbers must have fewer digits",
    ),
    "index: half a surrogate pair": (
        indexed('{"weight_map": {"\\ud800": "x.safetensors"}}'),
        f"model/{INDEX}: strings must be Unicode, '\\ud800' holds half a surrogate pair",
    ),
    "index: two of them": (
        {"a.safetensors.index.json": b"{}", "b.safetensors.index.json": b"{}"},
        "model: must have one index, it has a.safetensors.index.json, b.safetensors.index.json",
    ),
    "no index and two shards": (
        {**SOUND},
        f"model: must hold {INDEX} to tell which of its 2 files is which",
    ),
    "no tensors at all": (
        {"readme.txt": b""},
        f"model: must hold model.safetensors or {INDEX}, it holds no .safetensors file",
    ),
    # --- the index and the shards ---
    "shard missing": (
        elsewhere("x.safetensors"),
        f"model/{INDEX}: names x.safetensors, which is not there",
    ),
    "shard of a name too long": (
        elsewhere("x" * 300 + ".safetensors"),
        f"model/{INDEX}: names {'x' * 300}.safetensors, which is not there",
    ),
    "tensor left out": (
        indexed(
            {"b": OTHER, "a2": SHARD},
            {SHARD: st_bytes('{"a":' + entry() + ',"a2":' + entry(offsets="[1,2]") + "}", b"xy")},
        ),
        f"model/{INDEX}: must name every tensor, 'a' of model/{SHARD} is left out",
    ),
    "tensor of no shard": (
        elsewhere(SHARD),
        f"model/{INDEX}: tensor 'ghost' must be in {SHARD} as it says, it is not there",
    ),
    "tensor in another shard": (
        indexed({"a": OTHER, "b": SHARD}),
        f"model/{INDEX}: tensor 'a' must be in {OTHER} as it says, it is in {SHARD}",
    ),
    "tensor in two shards": (
        indexed({"a": SHARD, "b": OTHER}, {OTHER: SOUND[SHARD]}),
        f"model/{OTHER}: tensor 'a' must be in one file, it is also in {SHARD}",
    ),
    "shard broken": (
        indexed({"a": SHARD, "b": OTHER}, {OTHER: SOUND[OTHER] + b"z"}),
        f"model/{OTHER}: data must end with the last tensor at 1, but the file has 2 bytes of data",
    ),
    # --- config.json ---
    "config: empty": (configured(""), "model/config.json: must be JSON, breaks at character 0"),
    "config: a list": (configured("[]"), "model/config.json: must be a JSON object, got []"),
    "config: key twice": (
        configured('{"a": 1, "a": 2}'),
        "model/config.json: key 'a' must appear once, it appears again",
    ),
    "config: key twice far below": (
        configured('{"a": [{"b": {"c": 1, "c": 2}}]}'),
        "model/config.json: key 'c' must appear once, it appears again",
    ),
    "config: nested deeply": (configured("[" * 100_000), f"model/config.json: {NESTED}"),
    "config: objects nested deeply": (
        configured('{"a":' * 100_000),
        f"model/config.json: {NESTED}",
    ),
    "config: sound but for its depth": (
        configured('{"a":' * 5_000 + "1" + "}" * 5_000),
        f"model/config.json: {NESTED}",
    ),
    "config: thousands of digits": (
        configured('{"a": ' + "9" * 5_000 + "}"),
        "model/config.json: numbers must have fewer digits",
    ),
    "config: format unknown": (
        configured({"quantization_config": {"sparsity_config": {"format": "sparse-csr"}}}),
        FORMAT + "'sparse-csr'",
    ),
    "config: format of the older place": (
        configured({"compression_config": {"sparsity_config": {"format": "os.system"}}}),
        FORMAT + "'os.system'",
    ),
    "config: format at the top": (configured({"sparsity_config": {"format": 3}}), FORMAT + "3"),
    "config: no format": (configured({"sparsity_config": {"ignore": []}}), FORMAT + "None"),
    "config: format in a list": (
        configured({"sparsity_config": {"format": ["dense"]}}),
        FORMAT + "['dense']",
    ),
    "config: sparsity_config a string": (configured({"sparsity_config": "dense"}), FORMAT + "None"),
}
