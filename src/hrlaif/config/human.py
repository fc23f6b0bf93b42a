"""The section of the human arm, whose labels are people's votes."""

from __future__ import annotations

from hrlaif.config.base import Count, Section


class HumanSection(Section):
    """The human arm learns from people's votes on training responses (`hrlaif annotate RUN --on training`).

    With fewer than `min_pairs` pairs on which people prefer one response, the arm's run stops before it is trained.
    """

    min_pairs: Count = 50
