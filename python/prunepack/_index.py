"""``model.safetensors.index.json``: which tensor of a folder is in which file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ._errors import FormatError
from ._regular import read_text
from ._strict_json import Object, parse, plain, shown

INDEX_SUFFIX = ".safetensors.index.json"
SIZE_LIMIT = 100_000_000


class Index(NamedTuple):
    """What an index holds.

    Attributes
    ----------
    shard_of : dict of str to str
        For each stored tensor the name of its file.
    metadata : dict of str to anything
        What else it says, such as ``total_size``.
    """

    shard_of: dict[str, str]
    metadata: dict[str, Any]

    @property
    def shards(self) -> tuple[str, ...]:
        """The names of the files, in order."""
        return tuple(sorted(set(self.shard_of.values())))


def read_index(path: Path) -> Index:
    """Read an index strictly; what its files hold is for the caller to compare.

    Raises
    ------
    FormatError
        If it is no JSON object with a ``weight_map`` of names to file names, or a file name would
        lead out of the folder.
    """
    where = str(path)
    tree = parse(read_text(path, SIZE_LIMIT), where, any_number=True)
    members = tree.members(where) if isinstance(tree, Object) else {}
    weight_map = members.get("weight_map")
    if not isinstance(weight_map, Object):
        msg = f"{where}: must be an object with a 'weight_map', got {shown(tree)}"
        raise FormatError(msg)
    shard_of = weight_map.members(f"{where}: weight_map")
    for name, shard in shard_of.items():
        _check_shard_name(shard, f"{where}: tensor {shown(name)}")
    metadata = plain(members.get("metadata", {}), where)
    return Index(shard_of, metadata if isinstance(metadata, dict) else {})


def index_text(shard_of: Mapping[str, str], metadata: Mapping[str, Any], total_size: int) -> str:
    """Return an index as transformers writes it."""
    tree = {
        "metadata": {**metadata, "total_size": total_size},
        "weight_map": dict(sorted(shard_of.items())),
    }
    return json.dumps(tree, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _check_shard_name(shard: object, where: str) -> None:
    """Refuse a name with a path in it: it could lead anywhere."""
    if (
        not isinstance(shard, str)
        or Path(shard).name != shard
        or "\\" in shard
        or "\0" in shard
        or not shard.endswith(".safetensors")
    ):
        msg = f"{where}: must be in a .safetensors file beside the index, got {shown(shard)}"
        raise FormatError(msg)
