"""The starting policy: a tiny Llama with a tokenizer of whole words, fine-tuned by this package on the world's rows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast

from hrlaif import prompts, sft
from hrlaif.config import LoraSection, SftSection, SftSource
from sandbox.world import World
from tiny_model import write_random

SPECIAL = ("<|pad|>", "<|unk|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }} {{ message['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


@dataclass(frozen=True)
class Size:
    """How large the start is and how long it is taught: first what is right, then to answer as it is to.

    `each` is how many responses a question gets in each wording.
    """

    hidden: int = 96
    layers: int = 3
    knowledge_epochs: int = 15
    each: int = 10
    examples_per_step: int = 32
    learning_rate: float = 3e-3


def write_start(folder: Path, world: World, size: Size, *, seed: int) -> Path:
    """Write the fine-tuned start into `folder`, unless it is there, and return the folder of the model."""
    out = folder / "start"
    if (out / "summary.json").exists():
        return out
    folder.mkdir(parents=True, exist_ok=True)
    base = _write_random(folder / "random", world, size, seed=seed)
    knowing = folder / "knowing"
    _taught(base, knowing, list(world.knowledge_rows()), size, epochs=size.knowledge_epochs, seed=seed)
    rows = list(world.demonstration_rows(each=size.each, seed=seed))
    _taught(knowing, out, rows, size, epochs=1, seed=seed)
    return out


def _taught(base: Path, out: Path, rows: list[dict[str, Any]], size: Size, *, epochs: int, seed: int) -> None:
    """Fine-tune the model at `base` on demonstrations, into `out`."""
    path = out.with_suffix(".jsonl")
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    section = SftSection(
        sources=(SftSource(path=str(path)),),
        lora=LoraSection(rank=0),
        epochs=epochs,
        learning_rate=size.learning_rate,
        examples_per_step=size.examples_per_step,
        max_tokens=96,
        held_out=0.02,
        batch_tokens=4096,
        checkpoint_every=10_000,
    )
    demonstrations = prompts.demonstrations(section, seed=seed)
    sft.train(demonstrations, base=str(base), section=section, out=out, seed=seed, device="cpu")


def _write_random(folder: Path, world: World, size: Size, *, seed: int) -> Path:
    refusals = resources.files("hrlaif.red_team").joinpath("refusals_en.txt").read_text("utf-8")
    texts = ["user assistant", refusals, *world.texts()]
    words = sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]+", text)})
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    # Puts spaces between words and takes those before punctuation away.
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[0],
        unk_token=SPECIAL[1],
        bos_token=SPECIAL[2],
        eos_token=SPECIAL[3],
    )
    fast.chat_template = TEMPLATE
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=size.hidden,
        intermediate_size=2 * size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        # Wider than usual: so small a model would stand still for its first hundred steps.
        initializer_range=0.06,
    )
    return write_random(folder, config, fast, seed=seed)
