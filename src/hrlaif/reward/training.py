"""Training the reward model, resumable at every checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hrlaif.artifacts import encode, fingerprint, write_json
from hrlaif.config import RewardSection
from hrlaif.nn import processes
from hrlaif.nn.adapters import save_trained, trainable
from hrlaif.nn.backbone import Backbone, Placement, placement
from hrlaif.nn.card import write_card
from hrlaif.nn.checkpoint import Checkpoints
from hrlaif.nn.epochs import EarlyStop, Epochs
from hrlaif.nn.forks import can_fork
from hrlaif.nn.losses import preference_loss
from hrlaif.nn.memory import out_of_memory
from hrlaif.nn.scoring import fork_length, fork_scores, score_forks
from hrlaif.nn.seeds import generator
from hrlaif.reward.data import TokenPair, render, split
from hrlaif.reward.measure import measure
from hrlaif.reward.weights import described, weigh
from hrlaif.types import Pair

REMEDY = (
    "a smaller reward.pairs_per_step, reward.batch_tokens or reward.max_tokens, or reward.lora.gradient_checkpointing"
)


def train(
    pairs: Sequence[Pair],
    *,
    base: str,
    section: RewardSection,
    out: Path,
    seed: int,
    device: str = "auto",
    dtype: str = "auto",
    tensorboard: bool = False,
) -> dict[str, object]:
    """Train a Bradley-Terry reward model on soft labels, and measure it on held-out prompts.

    `out` gets the model as transformers and PEFT load it (sequence classification with one output), its tokenizer,
    `README.md`, `metrics.jsonl` (one line per step) and `summary.json`, which is returned. Checkpoints of an attempt
    that died, found in `out`, are continued; the result is that of an uninterrupted training.

    Raises:
        DataError: There are no pairs to train on.
        ModelError: The base cannot be loaded, memory ran out, or training diverged.
    """
    settings = fingerprint(
        "reward", section.model_dump(), base, seed, device, dtype, [encode(pair).hex() for pair in pairs]
    )
    out.mkdir(parents=True, exist_ok=True)
    training = Training(base, section, placement(processes.own_device(device), dtype), seed=seed)
    longest = min(section.max_tokens, training.backbone.max_length)
    rendered = render(pairs, training.backbone.chat, max_tokens=longest)
    train_pairs, held_out = split(rendered, held_out=section.held_out)
    train_pairs, held_out = weigh(train_pairs, held_out, section)
    checkpoints = Checkpoints(out / "checkpoints", settings=settings)
    stop = training.early_stop(held_out)
    with out_of_memory("reward model", REMEDY):
        rows = training.run(train_pairs, checkpoints, out / "metrics.jsonl", stop, tensorboard=tensorboard)
        found = training.measure(held_out)
    summary: dict[str, object] = {
        "base": base,
        "pairs": len(rendered),
        "train_pairs": len(train_pairs),
        "cut_prompts": sum(item.was_cut for item in rendered),
        "weights": described(train_pairs),
        "margin": section.margin,
        "steps": len(rows),
        **({"best_step": stop.best_step, "best_held_out_loss": stop.best_loss} if stop is not None else {}),
        "max_tokens": longest,
        "seconds": round(sum(row["seconds"] for row in rows), 2),
        "held_out": found,
    }
    if not processes.is_main():
        return summary
    save_trained(training.backbone, out)
    _write_card(out, training.backbone, section, summary)
    write_json(out / "summary.json", summary)
    checkpoints.clear()
    return summary


class Training(Epochs[TokenPair]):
    """The model under training and its optimiser."""

    def __init__(self, base: str, section: RewardSection, place: Placement, *, seed: int) -> None:
        backbone = trainable(base, section.lora, place, seed=seed, scorer=True)
        backbone.forks = backbone.shares_openings and can_fork(backbone.trunk)
        self.section, self.head = section, backbone.inner.score
        _start_head(self.head, seed)
        super().__init__(
            backbone, section, per_step=section.pairs_per_step, seed=seed, title="reward model", unit="pairs"
        )

    def length(self, item: TokenPair) -> int:
        """Tokens that a pass runs for both sides."""
        return fork_length(self.backbone, item.fork)

    def size(self, items: Sequence[TokenPair]) -> float:
        """The count of pairs."""
        return len(items)

    def accumulate(self, part: Sequence[TokenPair], of: float) -> dict[str, float]:
        """Add the gradients of some of a step's pairs; their share of the step's loss and accuracy."""
        chosen_B, rejected_B = fork_scores(self.backbone, self.head, [item.fork for item in part])
        loss = self._losses(part, chosen_B, rejected_B).sum() / of
        loss.backward()  # type: ignore[no-untyped-call]
        right = (chosen_B > rejected_B).float() + 0.5 * (chosen_B == rejected_B).float()
        return {"loss": float(loss.detach()), "accuracy": float(right.sum()) / of}

    def note(self, row: dict[str, float]) -> str:
        """Loss and accuracy."""
        return f"loss {row['loss']:.3g}, accuracy {row['accuracy']:.0%}"

    def _losses(self, pairs: Sequence[TokenPair], chosen_B: torch.Tensor, rejected_B: torch.Tensor) -> torch.Tensor:
        """The weighted loss of each pair."""
        columns = [(item.pair.probability, item.margin, item.weight) for item in pairs]
        probability_B, margin_B, weight_B = torch.tensor(columns, device=chosen_B.device).unbind(dim=1)
        centring = self.section.centring
        return weight_B * preference_loss(chosen_B, rejected_B, probability_B, centring=centring, margin_B=margin_B)

    def early_stop(self, held_out: Sequence[TokenPair]) -> EarlyStop | None:
        """What watches the loss on the held-out pairs, None where nothing is to."""
        if not self.section.early_stop.every:
            return None
        counted = [item for item in held_out if item.weight]

        def loss() -> float:
            chosen, rejected = self._scores(counted)
            losses_B = self._losses(counted, torch.tensor(chosen), torch.tensor(rejected))
            return float(losses_B.sum()) / sum(item.weight for item in counted)

        return EarlyStop(self.backbone.model, loss, self.section.early_stop)

    def measure(self, pairs: Sequence[TokenPair]) -> dict[str, Any]:
        """Accuracy, calibration and length on held-out pairs."""
        return measure(pairs, *self._scores(pairs))

    def _scores(self, pairs: Sequence[TokenPair]) -> tuple[list[float], list[float]]:
        """Scores of both sides, each process having scored its share: the same numbers in all of them."""
        mine = [item.fork for item in processes.share(pairs)]
        chosen, rejected = score_forks(self.backbone, self.head, mine)
        return processes.rejoined(chosen), processes.rejoined(rejected)


def _start_head(head: Any, seed: int) -> None:
    """A small random score head, the same for the same seed (transformers draws its own from a global generator)."""
    for name, weight in head.named_parameters():
        drawn = torch.randn(weight.shape, generator=generator(seed, "score head", name.split(".")[-1]))
        weight.data.copy_(drawn / (weight.shape[-1] + 1) ** 0.5)


def _write_card(out: Path, backbone: Backbone, section: RewardSection, summary: dict[str, object]) -> None:
    held: Any = summary["held_out"]
    if held:
        accuracy, short = held["accuracy"], held["baselines"]["shorter wins"]
        quality = (
            f"{accuracy['value']:.1%} of {held['pairs']} held-out pairs in the right order "
            f"(95 % interval {accuracy['low']:.1%} to {accuracy['high']:.1%}); "
            f"always picking the shorter response: {short['value']:.1%}."
        )
    else:
        quality = "Not measured: no pairs were held out."
    write_card(
        out,
        package="hrlaif.reward",
        template="card_adapter.txt" if section.lora.rank else "card_full.txt",
        values={
            "base": backbone.base,
            "end_token": repr(backbone.chat.tokenizer.convert_ids_to_tokens(backbone.chat.end_id)),
            "quality": quality,
            "train_pairs": summary["train_pairs"],
            "epochs": section.epochs,
            "learning_rate": section.learning_rate,
            "max_tokens": section.max_tokens,
        },
    )
