"""Let a copy of the package on PYTHONPATH be imported instead of an editable install.

Such an install is found by a finder that comes before every path. With this folder on PYTHONPATH, in
front of the one that holds the copy, Python runs this at its start, and so do all its children.
"""

from __future__ import annotations

import sys

sys.meta_path[:] = [
    finder for finder in sys.meta_path if not type(finder).__module__.startswith("_editable_skbc")
]
