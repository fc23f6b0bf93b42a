"""The hand-off: a run as files for TRL, OpenRLHF and verl, its models to publish, its reward model behind HTTP."""

from hrlaif.handoff.export import ENGINES, export
from hrlaif.handoff.models import export_model
from hrlaif.handoff.scoring import ArmReward
from hrlaif.handoff.server import RewardServer, serve

__all__ = ["ENGINES", "ArmReward", "RewardServer", "export", "export_model", "serve"]
