"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("prunepack", "numpy", "torch")


def machine() -> str:
    """Name the processor, and say how many cores this process may use of it."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {usable} core{'' if usable == 1 else 's'}"


def versions() -> dict[str, str]:
    """Return the versions of the packages that take part."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    model = re.search(r"^model name\s*: (.*)$", info, re.MULTILINE)
    return model[1] if model else platform.machine()
