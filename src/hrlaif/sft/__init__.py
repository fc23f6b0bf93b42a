"""Supervised fine-tuning: the optional first step, from a base model to a policy that answers."""

from hrlaif.sft.training import train

__all__ = ["train"]
