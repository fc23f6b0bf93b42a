"""Prompts: read from the shipped set and from the user's files, checked, divided into training and evaluation."""

from hrlaif.prompts.bundled import bundled
from hrlaif.prompts.calibration import calibration_pairs, read_calibration
from hrlaif.prompts.demonstrations import demonstrations
from hrlaif.prompts.load import input_files, load
from hrlaif.prompts.split import split_hash
from hrlaif.prompts.starter import write_starter

__all__ = [
    "bundled",
    "calibration_pairs",
    "demonstrations",
    "input_files",
    "load",
    "read_calibration",
    "split_hash",
    "write_starter",
]
