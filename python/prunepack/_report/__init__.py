"""A page that shows a checkpoint: sizes, zeros and magnitudes, to be opened in a browser."""

from __future__ import annotations

from ._write import report_checkpoint

__all__ = ["report_checkpoint"]
