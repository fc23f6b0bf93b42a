"""The hand-off to larger trainers: a run as files for TRL, OpenRLHF and verl, and its reward model behind HTTP."""

from hrlaif.handoff.export import ENGINES, export
from hrlaif.handoff.scoring import ArmReward
from hrlaif.handoff.server import RewardServer, serve

__all__ = ["ENGINES", "ArmReward", "RewardServer", "export", "serve"]
