"""The reward model: Bradley-Terry on preference pairs with soft labels."""

from hrlaif.reward.training import train

__all__ = ["train"]
