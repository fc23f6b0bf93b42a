"""The report of a run, or of several: one page that opens anywhere, its Markdown twin, and the figures."""

from hrlaif.report.compare import compare
from hrlaif.report.page import write

__all__ = ["compare", "write"]
