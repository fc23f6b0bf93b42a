"""Start and arms measured on the same prompts: satisfaction, preference, correctness, harm, over-refusal, length."""

from hrlaif.evaluation.evaluate import START, evaluate
from hrlaif.evaluation.monitors import kept_steps
from hrlaif.evaluation.people import People
from hrlaif.evaluation.runs import mean_table, means_of_folders, means_of_runs
from hrlaif.evaluation.summary import summarise
from hrlaif.evaluation.table import compare_runs, read_summaries, table

__all__ = [
    "START",
    "People",
    "compare_runs",
    "evaluate",
    "kept_steps",
    "mean_table",
    "means_of_folders",
    "means_of_runs",
    "read_summaries",
    "summarise",
    "table",
]
