"""Supervised fine-tuning of the starting policy, resumable at every checkpoint."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hrlaif.artifacts import encode, fingerprint, write_json
from hrlaif.config import SftSection
from hrlaif.errors import DataError
from hrlaif.metrics import bootstrap_mean, measured, paired_difference
from hrlaif.nn.adapters import save_whole, trainable
from hrlaif.nn.backbone import Placement, placement
from hrlaif.nn.batches import by_length
from hrlaif.nn.card import write_card
from hrlaif.nn.chat import Chat, Conversation
from hrlaif.nn.checkpoint import KEPT, Checkpoints
from hrlaif.nn.epochs import Epochs
from hrlaif.nn.forward import hidden_states, predicting
from hrlaif.nn.logprobs import token_losses
from hrlaif.nn.memory import out_of_memory
from hrlaif.types import Demonstration, Split

REMEDY = "a smaller sft.batch_tokens or sft.max_tokens, or sft.lora.gradient_checkpointing"


def train(
    demonstrations: Sequence[Demonstration],
    *,
    base: str,
    section: SftSection,
    out: Path,
    seed: int,
    device: str = "auto",
    dtype: str = "auto",
    tensorboard: bool = False,
) -> dict[str, object]:
    """Fine-tune a language model on responses, and measure it on the demonstrations that are for evaluation.

    `out` gets a whole model as transformers loads it (adapters are merged), its tokenizer, `README.md`,
    `metrics.jsonl` (one line per step) and `summary.json`, which is returned. An attempt that died continues from its
    newest checkpoint in `out/checkpoints`, with the result of an uninterrupted training.

    Raises:
        DataError: Nothing to train on, or the disk has no room for the model.
        ModelError: The base cannot be loaded, memory ran out, or training diverged.
    """
    settings = fingerprint(
        "sft", section.model_dump(), base, seed, device, dtype, [encode(one).hex() for one in demonstrations]
    )
    out.mkdir(parents=True, exist_ok=True)
    place = placement(device, dtype)
    training = Training(base, section, place, seed=seed)
    _check_room(training, place, out)
    chat = training.backbone.chat
    if not chat.has_own_template:
        warnings.warn(f"{base}: no chat template, so a plain one is used and saved with the model.", stacklevel=2)
    longest = min(section.max_tokens, training.backbone.max_length)
    train_examples, held_out = _examples(demonstrations, chat, longest)
    with out_of_memory("fine-tuning", REMEDY):
        before = training.losses(held_out.fit)
        rows = training.run(
            train_examples.fit,
            Checkpoints(out / "checkpoints", settings=settings),
            out / "metrics.jsonl",
            tensorboard=tensorboard,
        )
        after = training.losses(held_out.fit)
    summary: dict[str, object] = {
        "base": base,
        "train_examples": len(train_examples.fit),
        "too_long": train_examples.too_long + held_out.too_long,
        "cut_prompts": sum(one.cut > 0 for one in (*train_examples.fit, *held_out.fit)),
        "steps": len(rows),
        "max_tokens": longest,
        "chat_template": "the tokenizer's own" if chat.has_own_template else "plain, since the tokenizer had none",
        "seconds": round(sum(row["seconds"] for row in rows), 2),
        "held_out": _described(before, after, seed),
    }
    save_whole(training.backbone, out, place.dtype)
    _write_card(out, section, summary)
    write_json(out / "summary.json", summary)
    Checkpoints(out / "checkpoints", settings=settings).clear()
    return summary


def _examples(demonstrations: Sequence[Demonstration], chat: Chat, longest: int) -> tuple[Rendered, Rendered]:
    """The demonstrations to train on and those held out."""
    train_examples, held_out = (
        render([one for one in demonstrations if one.prompt.split is split], chat, max_tokens=longest)
        for split in (Split.TRAIN, Split.EVALUATION)
    )
    if not train_examples.fit:
        raise DataError(
            f"no demonstration to train on: {train_examples.too_long} have a response of more than {longest} tokens, "
            f"and {len(held_out.fit)} are held out. Add some to sft.sources, or raise sft.max_tokens."
        )
    return train_examples, held_out


@dataclass(frozen=True, slots=True)
class Rendered:
    """Demonstrations as tokens, and how many were left out because the response alone is too long."""

    fit: list[Conversation]
    too_long: int


def render(demonstrations: Sequence[Demonstration], chat: Chat, *, max_tokens: int) -> Rendered:
    """Prompts are cut on the left to fit. A response is never cut: without its end it would teach not to stop."""
    rendered = [chat.conversation(one.prompt.messages, one.response, max_tokens=max_tokens) for one in demonstrations]
    fit = [one for one in rendered if one.length <= max_tokens]
    return Rendered(fit, len(rendered) - len(fit))


class Training(Epochs[Conversation]):
    """The model under training and its optimiser."""

    def __init__(self, base: str, section: SftSection, place: Placement, *, seed: int) -> None:
        backbone = trainable(base, section.lora, place, seed=seed)
        super().__init__(
            backbone, section, per_step=section.examples_per_step, seed=seed, title="fine-tuning", unit="examples"
        )

    def length(self, item: Conversation) -> int:
        """Tokens of prompt and response."""
        return item.length

    def size(self, items: Sequence[Conversation]) -> float:
        """The count of response tokens: every token of a step weighs the same, whatever it stands in."""
        return sum(len(item.response) for item in items)

    def accumulate(self, part: Sequence[Conversation], of: float) -> dict[str, float]:
        """Add the gradients of some of a step's examples; their share of its mean loss per response token (nats)."""
        loss = self._token_losses(part).sum() / of
        loss.backward()  # type: ignore[no-untyped-call]
        return {"loss": float(loss.detach())}

    def _token_losses(self, part: Sequence[Conversation]) -> torch.Tensor:
        """`losses_N` of all response tokens, row after row."""
        batch = self.backbone.batch(part)
        hidden_BTH = predicting(hidden_states(self.backbone.trunk, batch, drop_last=True), batch)
        is_response_BT = batch.is_response_BT
        return token_losses(self.backbone.inner, hidden_BTH[is_response_BT], batch.response_BT[is_response_BT])

    @torch.no_grad()
    def losses(self, examples: Sequence[Conversation]) -> list[list[float]]:
        """The loss (nats) of each response token of each example."""
        found: list[list[float]] = [[] for _ in examples]
        for group in by_length([one.length for one in examples], max_tokens=self.batch_tokens):
            members = [examples[index] for index in group]
            rows = torch.split(self._token_losses(members), [len(one.response) for one in members])
            for index, row in zip(group, rows, strict=True):
                found[index] = row.tolist()
        return found


def _described(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]], seed: int) -> dict[str, Any]:
    """Loss per token before and after with its interval over examples, and perplexity; empty without examples."""
    flat = [[loss for row in losses for loss in row] for losses in (before, after)]
    examples = [number for number, row in enumerate(after) for _ in row]
    if not examples:
        return {}
    unit = "nats per token"
    losses = [
        bootstrap_mean(values, name=name, seed=seed, clusters=examples, unit=unit)
        for name, values in zip(("loss_before", "loss"), flat, strict=True)
    ]
    change = paired_difference(flat[1], flat[0], name="loss_change", seed=seed, clusters=examples, unit=unit)
    means = [math.fsum(values) / len(values) for values in flat]
    return {
        "examples": len(after),
        "tokens": len(examples),
        **measured([*losses, change]),
        "perplexity_before": math.exp(means[0]),
        "perplexity": math.exp(means[1]),
    }


def _check_room(training: Training, place: Placement, out: Path) -> None:
    """Before hours of training, not after: is there room for the model and for its checkpoints?"""
    parameters = list(training.backbone.model.parameters())
    whole = sum(one.numel() for one in parameters) * place.dtype.itemsize
    # Weights and the optimiser's two moments, in float32; one more while the oldest is still there.
    checkpoints = (KEPT + 1) * 3 * 4 * sum(one.numel() for one in parameters if one.requires_grad)
    free = shutil.disk_usage(out).free
    if free < whole + checkpoints:
        raise DataError(
            f"{out}: the fine-tuned model and its checkpoints need up to {(whole + checkpoints) / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB are free. Free some space, choose another run_dir, or set sft.lora.rank above 0 "
            "(smaller checkpoints)."
        )


def _write_card(out: Path, section: SftSection, summary: dict[str, Any]) -> None:
    held = summary["held_out"]
    quality = "not measured."
    if held:
        quality = (
            f"perplexity {held['perplexity']:.4g} per token, {held['perplexity_before']:.4g} before, on "
            f"{held['examples']} demonstrations ({held['tokens']} response tokens)."
        )
    write_card(
        out,
        package="hrlaif.sft",
        template="card.txt",
        values={
            "base": summary["base"],
            "how": f"low-rank adapters of rank {section.lora.rank}" if section.lora.rank else "all weights",
            "train_examples": summary["train_examples"],
            "epochs": section.epochs,
            "learning_rate": section.learning_rate,
            "max_tokens": summary["max_tokens"],
            "quality": quality,
            "chat_template": summary["chat_template"],
        },
    )
