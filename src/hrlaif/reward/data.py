"""Preference pairs as tokens, and which of them are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hrlaif.errors import DataError
from hrlaif.nn.chat import Chat, Conversation
from hrlaif.nn.forks import Fork
from hrlaif.nn.seeds import place_of
from hrlaif.types import Pair


@dataclass(frozen=True, slots=True)
class TokenPair:
    """One pair, rendered: both sides begin with the same prompt tokens.

    `weight` is how much it counts in the loss, `margin` how far the chosen score is to lead beyond the label's odds.
    """

    pair: Pair
    chosen: Conversation
    rejected: Conversation
    weight: float = 1.0
    margin: float = 0.0

    @property
    def fork(self) -> Fork:
        """Both sides as one row."""
        return Fork(self.chosen, self.rejected)

    @property
    def was_cut(self) -> bool:
        """True where the prompt lost tokens on the left."""
        return self.chosen.cut > 0


def render(pairs: Sequence[Pair], chat: Chat, *, max_tokens: int) -> list[TokenPair]:
    """Both sides of each pair with the same prompt tokens, cut on the left so that the longer side fits."""
    rendered = []
    for pair in pairs:
        prompt = chat.prompt_ids(pair.messages)
        chosen, rejected = chat.response_ids(pair.chosen), chat.response_ids(pair.rejected)
        room = max(max_tokens - max(len(chosen), len(rejected)), 1)
        cut = max(len(prompt) - room, 0)
        kept = tuple(prompt[cut:])
        rendered.append(
            TokenPair(pair, Conversation(kept, tuple(chosen), cut), Conversation(kept, tuple(rejected), cut))
        )
    return rendered


def split(pairs: Sequence[TokenPair], *, held_out: float) -> tuple[list[TokenPair], list[TokenPair]]:
    """(training pairs, held-out pairs). A prompt's pairs are all on one side, decided by a hash of its id alone.

    So the arms of a run hold out the same prompts. Where the share is above 0 and chance gave the held-out side no
    prompt, the prompt with the smallest hash goes there.

    Raises:
        DataError: There are no pairs, or none would be left to train on.
    """
    if not pairs:
        raise DataError(
            "no preference pairs to train a reward model on. See the label and pair stages' counts for why."
        )
    places = {item.pair.prompt_id: place_of(item.pair.prompt_id) for item in pairs}
    out = {prompt_id for prompt_id, place in places.items() if place < held_out}
    if held_out > 0 and not out and len(places) > 1:
        out = {min(places, key=lambda prompt_id: places[prompt_id])}
    train = [item for item in pairs if item.pair.prompt_id not in out]
    if not train:
        raise DataError(
            f"all {len(pairs)} pairs belong to held-out prompts, none is left to train on. "
            "Make more pairs, or lower reward.held_out."
        )
    return train, [item for item in pairs if item.pair.prompt_id in out]
