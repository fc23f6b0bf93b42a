"""The reward model: Bradley-Terry on preference pairs with soft labels."""

from hrlaif.reward.train import train

__all__ = ["train"]
