"""What someone without torch is told."""

from __future__ import annotations

import subprocess
import sys


def test_an_import_error_says_what_to_install() -> None:
    script = "import sys; sys.modules['torch'] = None; import prunepack; import prunepack.torch"
    result = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert result.stderr.splitlines()[-1] == (
        "ImportError: prunepack.torch needs torch, which cannot be imported; "
        "install torch, or prunepack[torch]"
    )
