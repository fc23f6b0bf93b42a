"""One training measurement of hrlaif, in a process of its own: python bench/training_ours.py ppo|reward MODEL ..."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from hrlaif.config import LoraSection, PolicySection, RewardSection
from hrlaif.nn.adapters import save_trained, trainable
from hrlaif.nn.backbone import placement
from hrlaif.nn.chat import Conversation
from hrlaif.policy.actors import Actors, Question
from hrlaif.policy.training import Training as PolicyTraining
from hrlaif.reward.data import TokenPair
from hrlaif.reward.training import Training as RewardTraining
from hrlaif.types import Basis, Message, Pair, Prompt, Task
from training_jobs import PAIRS_PER_STEP, RESPONSE_TOKENS, Steps, pairs, prompts

PLACE = placement("cpu", "float32")


def ppo(model: str, count: int, steps: int, lora: LoraSection) -> None:
    """PPO steps with 48 prompt and 48 response tokens, one epoch, one minibatch."""
    section = PolicySection(
        lora=lora, steps=steps, rollouts=count, minibatch=count, epochs=1, max_tokens=RESPONSE_TOKENS
    )
    with tempfile.TemporaryDirectory() as folder:
        reward_lora = lora if lora.rank else LoraSection()
        save_trained(trainable(model, reward_lora, PLACE, seed=0, scorer=True), Path(folder))
        actors = Actors(model, Path(folder), section, PLACE, seed=0)
    # Responses of full length, as for the engine that it is compared with.
    actors.policy.chat.stop_ids = frozenset()
    prompt = Prompt("p", (Message("user", "x"),), "c", Task.OPEN)
    training = PolicyTraining([prompt], actors, section, seed=0)
    training.questions = [Question(prompt, tuple(tokens)) for tokens in prompts(count)]
    timer = Steps()
    for index in range(steps):
        training.step(index)
        timer.done()
    timer.report()


def reward(model: str, steps: int, lora: LoraSection) -> None:
    """Reward-model steps on 16 pairs of about 50 tokens a side."""
    section = RewardSection(lora=lora, pairs_per_step=PAIRS_PER_STEP, epochs=100)
    training = RewardTraining(model, section, PLACE, seed=0)
    end = training.backbone.chat.end_id
    pair = Pair("p", (), "", "", 1.0, Basis.JUDGE, "c")
    rendered = [
        TokenPair(pair, Conversation(tuple(prompt), (*one, end)), Conversation(tuple(prompt), (*other, end)))
        for prompt, one, other in pairs()
    ]
    timer = Steps()
    for index in range(steps):
        training.step(rendered, index, steps)
        timer.done()
    timer.report()


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["ppo", "reward"])
    parser.add_argument("model")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--layers", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lora = LoraSection(rank=options.rank, layers=options.layers)
    if options.what == "ppo":
        ppo(options.model, options.prompts, options.steps, lora)
    else:
        reward(options.model, options.steps, lora)


if __name__ == "__main__":
    main()
