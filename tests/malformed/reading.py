"""What is done with a malformed file of each kind, which must end in a FormatError."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from prunepack import load_rules, unpack_checkpoint
from prunepack._files import load_file
from prunepack._mask_file import open_masks

from .archives import NPY, NPZ
from .folders import FOLDERS, Link
from .headers import HEADERS
from .mask_files import MASKS
from .packed_tensors import PACKED
from .rule_files import RULES


class Case(NamedTuple):
    """Files by name, who reads the first of them or the folder, and what he says."""

    files: Mapping[str, bytes | Link]
    path: Path
    read: Callable[[Path], object]
    message: str

    def write(self) -> None:
        """Write the files below the folder at hand."""
        for name, content in self.files.items():
            path = self.path / name if self.is_folder else self.path
            path.parent.mkdir(exist_ok=True)
            if isinstance(content, Link):
                path.symlink_to(content)
            else:
                path.write_bytes(content)

    def is_said_by(self, error: Exception) -> bool:
        """Tell whether an error has the message, of which what comes after … is another library's."""
        if self.message.endswith("…"):
            return str(error).startswith(self.message.removesuffix("…"))
        return str(error) == self.message

    @property
    def is_folder(self) -> bool:
        return self.path.suffix == ""


def read_masks(path: Path) -> None:
    with open_masks(path) as file:
        for name in file.infos:
            file.read(name)


def unpack(folder: Path) -> None:
    unpack_checkpoint(folder, "out", num_threads=1)


def _cases(
    table: Mapping[str, tuple[bytes, str]], name: str, read: Callable[[Path], object]
) -> dict[str, Case]:
    return {
        why: Case({name: octets}, Path(name), read, message)
        for why, (octets, message) in table.items()
    }


CASES = {
    **_cases(HEADERS, "m.safetensors", load_file),
    **_cases(PACKED, "m.safetensors", load_file),
    **_cases(MASKS, "m.safetensors", read_masks),
    **_cases(NPZ, "m.npz", load_file),
    **_cases(NPY, "m.npy", load_file),
    **_cases(RULES, "rules.toml", load_rules),
    **{
        why: Case(files, Path("model"), unpack, message)
        for why, (files, message) in FOLDERS.items()
    },
}
