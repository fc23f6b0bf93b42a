"""The responses stage: K samples per prompt from one policy."""

from hrlaif.responses.sample import sample

__all__ = ["sample"]
