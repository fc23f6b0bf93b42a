"""PPO with a KL penalty to the starting policy, against a reward model."""

from hrlaif.policy.training import train

__all__ = ["train"]
