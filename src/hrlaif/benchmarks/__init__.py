"""Public benchmarks from local files, in their published formats: read, asked of every contestant, scored."""

from hrlaif.benchmarks.files import files_of
from hrlaif.benchmarks.items import load
from hrlaif.benchmarks.measure import Asking, check, measure
from hrlaif.benchmarks.summary import summarise

__all__ = ["Asking", "check", "files_of", "load", "measure", "summarise"]
