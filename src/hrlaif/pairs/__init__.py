"""The pairs stage: labels become preference pairs for the reward model."""

from hrlaif.pairs.build import build

__all__ = ["build"]
