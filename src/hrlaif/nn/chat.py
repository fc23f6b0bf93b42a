"""The one place where conversations become tokens, for sampling, reward model and PPO alike.

A prompt is the chat template's text with the generation prompt. A response is its own tokens and then the end-of-turn
token: exactly what a rollout produces, so the reward model reads its score at the token where a rollout ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import TemplateError

from hrlaif.errors import ModelError
from hrlaif.types import Message


@dataclass(frozen=True, slots=True)
class Conversation:
    """Token ids of one prompt and one response. `cut` is how many prompt tokens were dropped on the left."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    cut: int = 0

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.prompt) + len(self.response)


class Chat:
    """Renders conversations for one tokenizer.

    `end_id` closes an assistant turn and ends every rendered response; `stop_ids` are all tokens at which a rollout
    ends; `pad_id` is never one of them. A tokenizer without a chat template gets a plain one, which is saved with it.
    """

    def __init__(self, tokenizer: Any, *, generation_eos: int | Sequence[int] | None = None) -> None:
        self.tokenizer = tokenizer
        self.has_own_template = bool(tokenizer.chat_template)
        if not self.has_own_template:
            tokenizer.chat_template = resources.files("hrlaif.nn").joinpath("plain_chat.txt").read_text("utf-8").strip()
        self.end_id = _end_of_turn(tokenizer)
        eos = [generation_eos] if isinstance(generation_eos, int) else list(generation_eos or ())
        self.stop_ids = frozenset(end for end in (self.end_id, tokenizer.eos_token_id, *eos) if end is not None)
        self.pad_id = _pad(tokenizer, self.stop_ids)
        tokenizer.pad_token_id = self.pad_id

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """The conversation so far with the generation prompt: what the policy continues.

        Special tokens spelled out in a message stay plain text.
        """
        contents = [message.content for message in messages]
        spelled_out = any(token in content for token in self.tokenizer.all_special_tokens for content in contents)
        if not spelled_out:
            return self._tokens(self._rendered(messages, contents))
        # Text that spells out a special token must not become one: a user could close the turn and open another.
        marks = [f"\ue000{number}\ue001" for number in range(len(contents))]
        pieces = re.split("\ue000(\\d+)\ue001", self._rendered(messages, marks))
        parts = [
            self._tokens(contents[int(piece)], plain=True) if number % 2 else self._tokens(piece)
            for number, piece in enumerate(pieces)
        ]
        return [token for part in parts for token in part]

    def _tokens(self, text: str, *, plain: bool = False) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=plain)["input_ids"]
        return ids

    def _rendered(self, messages: Sequence[Message], contents: Sequence[str]) -> str:
        turns = [
            {"role": message.role, "content": content} for message, content in zip(messages, contents, strict=True)
        ]
        try:
            text: str = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        except TemplateError as error:
            roles = ", ".join(message.role for message in messages)
            raise ModelError(
                f"the model's chat template does not take a conversation with the roles {roles}: {error}. "
                "Change the prompt's roles (many templates take no system turn), or the model."
            ) from error
        return text

    def response_ids(self, text: str) -> list[int]:
        """A response's tokens and the end-of-turn token. Special tokens spelled out in the text stay plain text."""
        return [*self._tokens(text, plain=True), self.end_id]

    def conversation(self, messages: Sequence[Message] | str, response: str, *, max_tokens: int) -> Conversation:
        """Prompt and response; a prompt that does not fit is cut on the left, a response never.

        A text in place of messages is a prompt that the chat template has rendered already.
        """
        prompt = self._tokens(messages) if isinstance(messages, str) else self.prompt_ids(messages)
        return self.fit(prompt, self.response_ids(response), max_tokens=max_tokens)

    def is_rendered(self, text: str) -> bool:
        """True where a text spells out special tokens, as chat templates do."""
        return any(token in text for token in self.tokenizer.all_special_tokens)

    def respelled(self, text: str) -> str:
        """A rendered prompt after a round trip through the tokenizer, special tokens kept."""
        return str(self.tokenizer.decode(self._tokens(text), skip_special_tokens=False))

    @property
    def end_texts(self) -> list[str]:
        """The spellings of the tokens at which a rollout ends."""
        return [str(text) for text in self.tokenizer.convert_ids_to_tokens(sorted(self.stop_ids))]

    @staticmethod
    def fit(prompt: Sequence[int], response: Sequence[int], *, max_tokens: int) -> Conversation:
        """Cut the prompt on the left so that both fit into `max_tokens`; at least one prompt token stays."""
        keep = min(len(prompt), max(max_tokens - len(response), 1))
        return Conversation(tuple(prompt[len(prompt) - keep :]), tuple(response), cut=len(prompt) - keep)

    def text(self, response: Sequence[int]) -> str:
        """The text of sampled tokens, without special tokens."""
        return str(self.tokenizer.decode(list(response), skip_special_tokens=True))


def _end_of_turn(tokenizer: Any) -> int:
    """The first special token that the template puts after an assistant's turn, else the tokenizer's EOS."""
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "ZQZ"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    tail = text[text.rindex("ZQZ") + 3 :]
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    for token in tokenizer(tail, add_special_tokens=False)["input_ids"]:
        if token in special:
            return int(token)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"{tokenizer.name_or_path}: the tokenizer has no end-of-sequence token and its chat template ends a turn "
            "with none, so a response could never end. Set eos_token in tokenizer_config.json."
        )
    return int(tokenizer.eos_token_id)


def _pad(tokenizer: Any, stop_ids: frozenset[int]) -> int:
    """A padding token that is no end token: padding must never be taken for a real end."""
    special = [token for token, added in tokenizer.added_tokens_decoder.items() if added.special]
    for token in (tokenizer.pad_token_id, tokenizer.unk_token_id, *reversed(special), tokenizer.bos_token_id, 0):
        if token is not None and token not in stop_ids:
            return int(token)
    return 1
