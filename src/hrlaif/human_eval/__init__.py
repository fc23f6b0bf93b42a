"""The page on which people rate answers; their votes are labels with basis HUMAN.

`server` needs the extra `web` and is imported where it is served; everything else here does without.
"""

from hrlaif.human_eval.exchange import FORMATS, IMPORTS, write_votes
from hrlaif.human_eval.imports import import_votes
from hrlaif.human_eval.items import arm_items, check_items, comparisons, shuffled
from hrlaif.human_eval.outcome import Outcomes, outcomes, outcomes_of
from hrlaif.human_eval.store import TRAINING_VOTES, VOTES, Study, digest

__all__ = [
    "FORMATS",
    "IMPORTS",
    "TRAINING_VOTES",
    "VOTES",
    "Outcomes",
    "Study",
    "arm_items",
    "check_items",
    "comparisons",
    "digest",
    "import_votes",
    "outcomes",
    "outcomes_of",
    "shuffled",
    "write_votes",
]
