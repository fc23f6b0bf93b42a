"""Start and arms measured on the same prompts: satisfaction, preference, correctness, harm, over-refusal, length."""

from hrlaif.evaluation.evaluate import START, evaluate
from hrlaif.evaluation.monitors import kept_steps
from hrlaif.evaluation.people import People
from hrlaif.evaluation.runs import mean_of_folders, mean_of_runs
from hrlaif.evaluation.summary import summarise
from hrlaif.evaluation.table import compare_runs, table

__all__ = [
    "START",
    "People",
    "compare_runs",
    "evaluate",
    "kept_steps",
    "mean_of_folders",
    "mean_of_runs",
    "summarise",
    "table",
]
