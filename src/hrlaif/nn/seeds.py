"""Random numbers that depend on what they are for and on nothing else.

Every draw of a run comes from a seed derived from (run seed, purpose, step, ...). No generator is carried from step to
step, so a resumed run draws what the uninterrupted run would have drawn.
"""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, *parts: int | str) -> int:
    """A seed (0 .. 2**63 - 1) for one purpose; same arguments, same seed, on every machine."""
    text = "\x1f".join([str(seed), *(str(part) for part in parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def place_of(name: str) -> float:
    """A number in 0..1 that depends on the name only: the lowest places are held out, by every stage alike."""
    return int.from_bytes(hashlib.sha256(f"held out {name}".encode()).digest()[:7], "big") / 2**56


def generator(seed: int, *parts: int | str) -> torch.Generator:
    """A CPU generator for one purpose."""
    return torch.Generator().manual_seed(derive(seed, *parts))


def permutation(n: int, seed: int, *parts: int | str) -> list[int]:
    """The numbers 0 .. n - 1 in a random order."""
    order: list[int] = torch.randperm(n, generator=generator(seed, *parts)).tolist()
    return order
