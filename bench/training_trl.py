"""One training measurement of TRL 1.12, in its own environment: python bench/training_trl.py ppo|reward MODEL ..."""

from __future__ import annotations

import argparse
import os
import tempfile

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)
from trl import RewardConfig, RewardTrainer
from trl.experimental.ppo import PPOConfig, PPOTrainer

from training_jobs import PAIRS_PER_STEP, RESPONSE_TOKENS, Steps, pairs, prompts

QUIET = {"report_to": "none", "save_strategy": "no", "bf16": False, "gradient_checkpointing": False, "use_cpu": True}


class Clock(TrainerCallback):
    """Times the trainer's steps."""

    def __init__(self, timer: Steps) -> None:
        self.timer = timer

    def on_train_begin(self, *_: object, **__: object) -> None:
        """Training starts."""
        self.timer.start()

    def on_step_end(self, *_: object, **__: object) -> None:
        """A step ended."""
        self.timer.done()


def tokenizer(model: str):
    found = AutoTokenizer.from_pretrained(model)
    found.pad_token = found.unk_token
    return found


def scorer(model: str, pad: int):
    found = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1, dtype=torch.float32)
    found.config.pad_token_id = pad
    return found


def lora(rank: int, task: str) -> LoraConfig | None:
    return LoraConfig(r=rank, lora_alpha=32, target_modules="all-linear", task_type=task) if rank else None


def ppo(model: str, count: int, steps: int, rank: int) -> None:
    tokens = tokenizer(model)
    policy = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    reference = None if rank else AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    timer = Steps()
    with tempfile.TemporaryDirectory() as folder:
        PPOTrainer(
            args=PPOConfig(
                output_dir=folder,
                num_ppo_epochs=1,
                num_mini_batches=1,
                per_device_train_batch_size=count,
                gradient_accumulation_steps=1,
                local_rollout_forward_batch_size=count,
                total_episodes=steps * count,
                response_length=RESPONSE_TOKENS,
                temperature=1.0,
                num_sample_generations=0,
                **QUIET,
            ),
            processing_class=tokens,
            model=policy,
            ref_model=reference,
            reward_model=scorer(model, tokens.pad_token_id),
            value_model=scorer(model, tokens.pad_token_id),
            train_dataset=Dataset.from_dict({"input_ids": prompts(count)}),
            eval_dataset=Dataset.from_dict({"input_ids": prompts(count)}),
            peft_config=lora(rank, "CAUSAL_LM"),
            callbacks=[Clock(timer)],
        ).train()
    timer.report()


def reward(model: str, steps: int, rank: int) -> None:
    tokens = tokenizer(model)
    end = tokens.eos_token_id
    rows = [
        {"chosen_ids": [*prompt, *one, end], "rejected_ids": [*prompt, *other, end]} for prompt, one, other in pairs()
    ]
    timer = Steps()
    with tempfile.TemporaryDirectory() as folder:
        RewardTrainer(
            model=scorer(model, tokens.pad_token_id),
            args=RewardConfig(
                output_dir=folder,
                per_device_train_batch_size=PAIRS_PER_STEP,
                max_steps=steps,
                center_rewards_coefficient=0.01,
                **QUIET,
            ),
            processing_class=tokens,
            train_dataset=Dataset.from_list(rows),
            peft_config=lora(rank, "SEQ_CLS"),
            callbacks=[Clock(timer)],
        ).train()
    timer.report()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["ppo", "reward"])
    parser.add_argument("model")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "ppo":
        ppo(options.model, options.prompts, options.steps, options.rank)
    else:
        reward(options.model, options.steps, options.rank)


if __name__ == "__main__":
    main()
