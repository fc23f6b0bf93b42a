"""What a run will ask its endpoints, and what that costs in money and time, before a call is made.

The stages themselves are run in a temporary folder, with models that are imagined (`imagined.py`) and counted
(`counting.py`): which questions follow from which answers stands in the stages alone.
"""

from hrlaif.estimate.assumptions import Assumptions, parse_assumptions
from hrlaif.estimate.estimate import estimate
from hrlaif.estimate.summary import remarks, table

__all__ = ["Assumptions", "estimate", "parse_assumptions", "remarks", "table"]
