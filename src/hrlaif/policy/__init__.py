"""PPO with a KL penalty to the starting policy, against a reward model."""

from hrlaif.policy.train import train

__all__ = ["train"]
