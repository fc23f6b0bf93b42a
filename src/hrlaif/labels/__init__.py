"""The labels stage: which of two responses is better, how sure, and on what evidence.

`verify` reads the final answers once for the whole run; `label` makes one arm's labels from them.
"""

from hrlaif.labels.accuracy import label_accuracy
from hrlaif.labels.label import Group, label, open_pairs
from hrlaif.labels.verify import verify

__all__ = ["Group", "label", "label_accuracy", "open_pairs", "verify"]
