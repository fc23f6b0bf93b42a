"""Align a language model with AI feedback, without losing correctness."""

__version__ = "0.1.0"
