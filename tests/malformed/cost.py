"""Read every malformed file with next to no memory, and print what that cost as JSON.

The limit is on what a process may write to, whoever asks for it: so many bytes more than it has
when it begins with a file.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from malformed.making import packed
from malformed.reading import CASES, Case
from prunepack._files import load_file


def data_bytes() -> int:
    """Return what counts for RLIMIT_DATA."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmData:"))
    return int(kilobytes) * 1024


def cost_of(case: Case, most_bytes: int) -> dict[str, object]:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes() + most_bytes, hard))
    begin, error = time.process_time(), "none"
    try:
        case.read(case.path)
    except Exception as raised:  # noqa: BLE001 (whatever it is, the test will say it)
        error = type(raised).__name__
    seconds = time.process_time() - begin
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    return {"error": error, "seconds": seconds}


def main(most_bytes: int) -> None:
    costs = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("sound.safetensors").write_bytes(packed())
        load_file("sound.safetensors")  # what is imported and made only once is none of their cost
        for number, (why, case) in enumerate(CASES.items()):
            place = Path(folder, str(number))
            place.mkdir()
            os.chdir(place)
            case.write()
            costs[why] = cost_of(case, most_bytes)
        os.chdir("/")
    json.dump(costs, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]))
