"""The policy under training, sampled by a vLLM server: its newest adapter is loaded there before it is asked.

Each state of the policy has a name of its own, made of the training, of this process's start and of the step: a server
never mistakes one for another, nor what it has cached of one for the other's.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hrlaif.artifacts import writing_to
from hrlaif.config import PolicySection
from hrlaif.errors import ModelError
from hrlaif.models.vllm import Sampling, VllmServer
from hrlaif.nn import processes
from hrlaif.nn.adapters import save_trained
from hrlaif.nn.backbone import Backbone
from hrlaif.nn.generate import Sampled
from hrlaif.nn.losses import k3

KEY = "policy.endpoint"
# Nats per token. Farther than that PPO's own updates do not go from the responses that they learn from.
MOST_KL = 0.02


class ServedPolicy:
    """A policy on a server. Of several processes the first saves and loads adapters, and all draw from them.

    The server reads the adapters, one at a time, in `policy.adapter_dir` or beside the training's `checkpoints`.
    """

    def __init__(self, section: PolicySection, checkpoints: Path) -> None:
        self.section = section
        self.folder = Path(section.adapter_dir or checkpoints / "adapters").resolve()
        self._is_own_folder = not section.adapter_dir
        self.server = VllmServer(section.endpoint, key=KEY)
        self.name = ""
        self.step = -1
        # The machine too: trainings on two of them may have the same path, and one server.
        training = hashlib.sha256(f"{platform.node()}\x1f{checkpoints.resolve()}".encode()).hexdigest()[:8]
        self._prefix = f"hrlaif-{training}-"
        self._start = secrets.token_hex(4)

    def check(self, *, longest: int) -> None:
        """Is the server there, and what it should be? Forgets what an earlier attempt of this training left there.

        `longest` is how many tokens the longest prompt and its response may have.

        Raises:
            ModelError: It cannot be reached, serves another model, or its context is too short.
        """
        if processes.is_main():
            served, model = self.server.served(), self.section.endpoint.model
            if model not in served:
                raise ModelError(
                    f"{KEY}: {self.section.endpoint.url} serves {', '.join(sorted(served))}, but no {model!r}. Set "
                    f"{KEY}.model to the name under which it serves the starting policy."
                )
            context = served[model]
            if context is not None and context < longest:
                raise ModelError(
                    f"{KEY}: {self.section.endpoint.url} takes {context} tokens, and a prompt with its response may "
                    f"have {longest}. Start it with --max-model-len {longest}, or lower policy.max_prompt_tokens or "
                    "policy.max_tokens."
                )
            for name in served:
                if name.startswith(self._prefix):
                    self.server.unload(name)
            self._clear()
        processes.gathered(None)

    def publish(self, backbone: Backbone, step: int) -> None:
        """Have the server sample from the policy as it is now, after `step` steps; the one before is forgotten."""
        if step == self.step:
            return
        if processes.is_main():
            self._forget()
            self.name = f"{self._prefix}{self._start}-{step:06d}"
            place = self.folder / self.name
            with writing_to(place):
                save_trained(backbone, place)
            self.server.load(self.name, place)
        self.name, self.step = processes.gathered(self.name)[0], step

    def close(self) -> None:
        """Leave nothing behind, neither on the server (if it is still there) nor on the disk."""
        if processes.is_main():
            with contextlib.suppress(ModelError):
                self._forget()
            self._clear()

    def _clear(self) -> None:
        for left in [self.folder] if self._is_own_folder else self.folder.glob(f"{self._prefix}*"):
            shutil.rmtree(left, ignore_errors=True)

    def _forget(self) -> None:
        if self.name:
            self.server.unload(self.name)
            shutil.rmtree(self.folder / self.name, ignore_errors=True)
            self.name = ""

    def sample(self, backbone: Backbone, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[Sampled]:
        """One response per prompt, with the server's own log-probabilities where it gives them."""
        chat = backbone.chat
        sampling = Sampling(self.section.temperature, self.section.max_tokens, chat.stop_ids, chat.end_id)
        drawn = self.server.complete(self.name, prompts, seeds, sampling)
        known = backbone.inner.get_input_embeddings().num_embeddings
        if any(max(one.tokens) >= known for one in drawn):
            raise ModelError(
                f"{KEY}: {self.section.endpoint.url} drew tokens that {backbone.base} does not have. It must serve "
                "that model."
            )
        return [Sampled(one.tokens, one.finished, one.logprobs) for one in drawn]


@dataclass(frozen=True, slots=True)
class Gap:
    """How far the responses' own engine is from the policy that they are to be of.

    `kl` estimates KL(engine || policy) in nats per token (k3), `ratio_error` is the largest error of a token's
    probability ratio; over `tokens` tokens.
    """

    tokens: int = 0
    kl: float = 0.0
    ratio_error: float = 0.0


def gap(sampled: Sequence[Sampled], read: Sequence[torch.Tensor]) -> Gap:
    """The gap over the responses of all processes; `read` holds what a pass says of each, `[T, 2 or more]`.

    The first column is at the sampling temperature, the second at temperature 1. A server may give either
    (`--logprobs-mode`), so the one that fits better counts.
    """
    pairs = [
        (torch.tensor(one.logprobs), read_TC[: len(one.logprobs), :2].float().cpu())
        for one, read_TC in zip(sampled, read, strict=True)
        if one.logprobs
    ]
    mine: tuple[int, list[float], list[float]] = (0, [0.0, 0.0], [0.0, 0.0])
    if pairs:
        theirs_N1 = torch.cat([theirs_T for theirs_T, _ in pairs])[:, None]
        ours_N2 = torch.cat([ours_T2 for _, ours_T2 in pairs])
        errors_N2 = (torch.exp(ours_N2 - theirs_N1) - 1).abs()
        mine = len(ours_N2), k3(theirs_N1, ours_N2).sum(dim=0).tolist(), errors_N2.amax(dim=0).tolist()
    parts = processes.gathered(mine)
    tokens = sum(part[0] for part in parts)
    kl = [sum(part[1][column] for part in parts) / max(1, tokens) for column in (0, 1)]
    best = kl.index(min(kl))
    return Gap(tokens, kl[best], max(part[2][best] for part in parts))


def check_gap(found: Gap, section: PolicySection, *, where: str) -> dict[str, float]:
    """The gap as numbers for the curve; none where the server gave no log-probabilities.

    Raises:
        ModelError: The responses are not the policy's: the server has other weights, or changes the distribution.
    """
    if not found.tokens:
        return {}
    most = max(MOST_KL, section.stop_kl)
    if not found.kl <= most:
        raise ModelError(
            f"{where}: the responses of {section.endpoint.url} are {found.kl:.3g} nats per token away from the policy, "
            f"more than {most:g}: the server has other weights. Check that it serves the model that the training "
            "starts from, not quantised, and reads its adapters in the folder they are written to "
            "(policy.adapter_dir). The last checkpoint is from before this step."
        )
    return {"ratio_error": found.ratio_error, "server_kl": found.kl}
