"""Which texts say the same as an earlier one: exact after normalising, or nearly so by their character 5-grams.

Near duplicates are found by one-permutation MinHash with banding (Li, Owen and Zhang, "One Permutation Hashing",
2012: one hash per gram instead of one per gram and permutation), and every candidate is then checked with the exact
Jaccard similarity, so that chance collisions never drop a text.
"""

from __future__ import annotations

import math
import operator
import unicodedata
import zlib
from array import array
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

GRAM = 5
BINS = 36
ROWS = 3  # bins per band: 12 bands of 3 find a pair of similarity 0.8 with probability 0.9998
THRESHOLD = 0.8
PER_BUCKET = 16  # texts compared per bucket, so that a crowd of half-similar texts cannot make the time quadratic
FILLED = 3  # grams per bin on average from which on hardly a bin is empty
_BYTES = 4  # per character in UTF-32
_MIXER = 0x9E3779B1


@dataclass(frozen=True, slots=True)
class _Sketch:
    """A text's grams, in no order, and the lowest of each bin."""

    grams: Collection[int]
    lowest: Sequence[int]


def duplicates(texts: Iterable[str], *, threshold: float = THRESHOLD) -> list[int | None]:
    """For each text the index of an earlier text that it repeats, None where it is new.

    `duplicates(["Write a rude note!", "write a  rude note", "Bake a cake"])` gives `[None, 0, None]`. Memory grows
    with the new texts only, at about four kilobytes each and five bytes a character.
    """
    seen: dict[str, int] = {}
    kept: dict[int, _Sketch] = {}
    buckets: dict[tuple[int, ...], list[int]] = {}
    result: list[int | None] = []
    for index, text in enumerate(texts):
        plain = normalised(text)
        if plain in seen:
            result.append(seen[plain])
            continue
        grams = _grams(plain.encode("utf-32-le"))
        lowest = _lowest(grams)
        keys = _bands(lowest)
        candidates = (other for key in keys for other in buckets.get(key, ())[-PER_BUCKET:])
        twin = _twin(grams, lowest, ((other, kept[other]) for other in dict.fromkeys(candidates)), threshold)
        seen[plain] = index if twin is None else twin
        result.append(twin)
        if twin is None:
            kept[index] = _Sketch(array("I", grams), array("I", lowest))
            for key in keys:
                buckets.setdefault(key, []).append(index)
    return result


def clusters(texts: Iterable[str], *, threshold: float = THRESHOLD) -> list[int]:
    """For each text the index of the first text of its cluster: all that a chain of near duplicates leads to.

    `clusters(["Write a rude note!", "Bake a cake", "write a  rude note"])` gives `[0, 1, 0]`. Other than in
    `duplicates`, a text that repeats another is compared with later ones too.
    """
    encoded = [normalised(text).encode("utf-32-le") for text in texts]
    first = list(range(len(encoded)))
    buckets: dict[tuple[int, ...], list[int]] = {}

    def root(index: int) -> int:
        while first[index] != index:
            index = first[index]
        return index

    for index, text in enumerate(encoded):
        grams = _grams(text)
        for key in _bands(_lowest(grams)):
            bucket = buckets.setdefault(key, [])
            for other in bucket[-PER_BUCKET:]:
                ours, theirs = root(index), root(other)
                if ours != theirs and (text == encoded[other] or _jaccard(grams, _grams(encoded[other])) >= threshold):
                    first[max(ours, theirs)] = min(ours, theirs)
            bucket.append(index)
    return [root(index) for index in range(len(encoded))]


def normalised(text: str) -> str:
    """The text's letters and digits in one case and one Unicode form, words parted by single spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in folded if unicodedata.category(c) != "Cf").split())


def similarity(first: str, second: str) -> float:
    """Jaccard similarity (0..1) of the character 5-grams of two texts after normalising; 0 where one is empty."""
    return _jaccard(_grams(normalised(first).encode("utf-32-le")), _grams(normalised(second).encode("utf-32-le")))


def _twin(
    grams: set[int], lowest: Sequence[int], others: Iterable[tuple[int, _Sketch]], threshold: float
) -> int | None:
    """The first of the others that is as similar as that; what cannot be, or all but surely is not, costs little."""
    size = len(grams)
    # The share of equal bins is the similarity, give or take; four standard deviations below it nothing is lost. Where
    # bins are empty and borrow, it says less.
    spread = math.sqrt(BINS * threshold * (1 - threshold))
    least = BINS * threshold - 4 * spread if size >= FILLED * BINS else 0
    for index, other in others:
        # The similarity is at most the quotient of the sizes.
        if min(size, len(other.grams)) / max(size, len(other.grams)) < threshold:
            continue
        if sum(map(operator.eq, lowest, other.lowest)) < least:
            continue
        shared = len(grams.intersection(other.grams))
        if shared / (size + len(other.grams) - shared) >= threshold:
            return index
    return None


def _grams(encoded: bytes) -> set[int]:
    width = GRAM * _BYTES
    if len(encoded) <= width:
        return {zlib.crc32(encoded)} if encoded else set()
    view = memoryview(encoded)
    return {zlib.crc32(view[start : start + width]) for start in range(0, len(encoded) - width + 1, _BYTES)}


def _lowest(grams: set[int]) -> list[int]:
    """The lowest mixed hash of each bin; nothing for a text without grams."""
    if not grams:
        return []
    lowest: list[int] = [-1] * BINS
    for value in sorted(((gram * _MIXER) & 0xFFFFFFFF for gram in grams), reverse=True):
        lowest[value % BINS] = value
    # An empty bin borrows from the next filled one, so that short texts have full signatures too.
    borrowed = next(value for value in lowest if value >= 0)
    for position in range(BINS - 1, -1, -1):
        if lowest[position] >= 0:
            borrowed = lowest[position]
        lowest[position] = borrowed
    return lowest


def _bands(lowest: Sequence[int]) -> list[tuple[int, ...]]:
    return [(start, *lowest[start : start + ROWS]) for start in range(0, len(lowest), ROWS)]


def _jaccard(first: set[int], second: set[int]) -> float:
    union = len(first | second)
    return len(first & second) / union if union else 0.0
