"""The report of a run: one page that opens anywhere, its Markdown twin, and the figures."""

from hrlaif.report.page import write

__all__ = ["write"]
