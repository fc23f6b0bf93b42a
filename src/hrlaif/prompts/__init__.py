"""Prompts: read from the shipped set and from the user's files, checked, divided into training and evaluation."""

from hrlaif.prompts.bundled import bundled
from hrlaif.prompts.load import input_files, load

__all__ = ["bundled", "input_files", "load"]
