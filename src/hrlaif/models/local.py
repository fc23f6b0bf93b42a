"""Models in this process: a policy that answers prompts, and a reward model that scores answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hrlaif.artifacts import read_json
from hrlaif.errors import ModelError
from hrlaif.models.base import Decoding, SampleRequest
from hrlaif.nn.adapters import load_adapter
from hrlaif.nn.backbone import Backbone, find_base, load_causal, load_scorer, placement
from hrlaif.nn.chat import Conversation
from hrlaif.nn.generate import Settings, generate
from hrlaif.nn.likelihood import response_logprobs
from hrlaif.nn.memory import out_of_memory
from hrlaif.nn.scoring import score_tokens
from hrlaif.types import Finish, Message, Response

# Requests are sorted by length within this many batches, and yielded in order when all of them are drawn.
BATCHES_AHEAD = 4


class LocalSampler:
    """A policy on this machine's CPU or GPU: any causal language model that transformers loads, or a policy folder.

    Args:
        name_or_folder: A model folder, a hub name, or an adapter folder (which names its own base).
        adapter: An adapter folder to put on `name_or_folder`.
        max_prompt_tokens: Longer prompts are cut on the left.
        name: What stands in `Response.model`; the last part of the folder's name if empty.
    """

    def __init__(
        self,
        name_or_folder: str,
        *,
        adapter: Path | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 32,
        max_prompt_tokens: int = 4096,
        name: str = "",
    ) -> None:
        folder = Path(name_or_folder)
        if adapter is None and (folder / "adapter_config.json").exists():
            adapter, base = folder, find_base(folder)
        elif adapter is not None:
            base = find_base(adapter, name_or_folder)
        else:
            base = name_or_folder
        self.name = name or (adapter or folder).name
        self.batch_size, self.max_prompt_tokens = batch_size, max_prompt_tokens
        self.backbone: Backbone = load_causal(base or str(adapter), placement(device, dtype))
        if adapter is not None and base is not None:
            load_adapter(self.backbone, adapter)

    def sample(self, requests: Sequence[SampleRequest], decoding: Decoding) -> Iterator[Response]:
        """Draw one response per request, in order; the same request draws the same response in any company."""
        ahead = self.batch_size * BATCHES_AHEAD
        for start in range(0, len(requests), ahead):
            yield from self._window(requests[start : start + ahead], decoding)

    def logprobs(self, asked: Iterable[tuple[tuple[Message, ...], Sequence[str]]]) -> list[list[float]]:
        """Per conversation, how likely each text begins the next turn: log-probabilities (nats) summed over tokens."""
        chat, found = self.backbone.chat, []
        longest = min(self.max_prompt_tokens, self.backbone.max_length)
        for messages, texts in asked:
            prompt = chat.prompt_ids(messages)
            # Without the end of the turn: a text is weighed as what an answer begins with.
            responses = [chat.response_ids(text)[:-1] for text in texts]
            with out_of_memory("scoring options", "shorter prompts"):
                # Cut alike, so that all options follow the same prompt.
                room = max(1, longest - max(map(len, responses)))
                conversations = [chat.fit(prompt[-room:], response, max_tokens=longest) for response in responses]
                found.append(response_logprobs(self.backbone, conversations))
        return found

    def _window(self, requests: Sequence[SampleRequest], decoding: Decoding) -> list[Response]:
        settings = Settings(decoding.temperature, decoding.max_tokens, decoding.top_p)
        chat = self.backbone.chat
        longest = max(1, min(self.max_prompt_tokens, self.backbone.max_length - decoding.max_tokens))
        rendered: dict[str, list[int]] = {}
        for request in requests:
            if request.prompt.id not in rendered:
                rendered[request.prompt.id] = chat.prompt_ids(request.prompt.messages)[-longest:]
        prompts = [rendered[request.prompt.id] for request in requests]
        # Equal lengths stay in request order, which keeps the samples of one prompt in one batch.
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
        responses: dict[int, Response] = {}
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            with out_of_memory("sampling", "a smaller batch_size or max_tokens"):
                drawn = generate(
                    self.backbone,
                    [prompts[index] for index in batch],
                    [requests[index].seed for index in batch],
                    settings,
                )
            for index, sampled in zip(batch, drawn, strict=True):
                request = requests[index]
                finish = Finish.STOP if sampled.finished else Finish.LENGTH
                text = chat.text(sampled.tokens)
                responses[index] = Response(
                    request.response_id, request.prompt.id, text, self.name, request.seed, finish
                )
        return [responses[index] for index in range(len(requests))]


class LocalReward:
    """A reward model folder that scores whole responses.

    Args:
        base: The backbone's place if it moved since the reward model was trained.
        max_tokens: Longer prompts are cut on the left; None takes what the model was trained with.
    """

    def __init__(
        self,
        folder: Path,
        *,
        base: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        max_tokens: int | None = None,
    ) -> None:
        if not (folder / "config.json").exists() and not (folder / "adapter_config.json").exists():
            raise ModelError(f"{folder}: no reward model here. Train one first.")
        found = find_base(folder, base)
        self.backbone = load_scorer(found or str(folder), placement(device, dtype))
        if found is not None:
            load_adapter(self.backbone, folder)
        self.max_tokens = min(max_tokens or _trained_length(folder), self.backbone.max_length)

        self.end_texts = self.backbone.chat.end_texts
        self.is_rendered = self.backbone.chat.is_rendered
        self.respelled = self.backbone.chat.respelled

    def score(self, conversations: Iterable[tuple[tuple[Message, ...] | str, str]]) -> list[float]:
        """One score per (messages or rendered prompt, response text), read at the end token."""
        chat = self.backbone.chat
        return self.score_tokens(
            [chat.conversation(messages, text, max_tokens=self.max_tokens) for messages, text in conversations]
        )

    def score_tokens(self, conversations: Sequence[Conversation]) -> list[float]:
        """One score per rendered conversation."""
        return score_tokens(self.backbone, self.backbone.inner.score, conversations)


def _trained_length(folder: Path) -> int:
    summary = folder / "summary.json"
    return int(read_json(summary).get("max_tokens", 1024)) if summary.exists() else 1024
