"""The red-team stage: attack the policy, judge its answers, turn the harmful ones into verified pairs."""

from hrlaif.red_team.archive import archive, asr
from hrlaif.red_team.pairs import to_pairs
from hrlaif.red_team.stage import attack, check_gate, regress

__all__ = ["archive", "asr", "attack", "check_gate", "regress", "to_pairs"]
