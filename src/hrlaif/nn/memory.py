"""Running out of memory, said clearly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from hrlaif.errors import ModelError


@contextlib.contextmanager
def out_of_memory(what: str, remedy: str) -> Iterator[None]:
    """Turn torch's out-of-memory errors (GPU and CPU) into a ModelError that says what to make smaller."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError(f"{what}: out of GPU memory. Try {remedy}.") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise ModelError(f"{what}: out of memory. Try {remedy}.") from error
