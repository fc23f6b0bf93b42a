"""Loading what transformers loads: a causal language model, a reward model, their tokenizer; folder or hub name."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from hrlaif.errors import ConfigError, ModelError
from hrlaif.nn.batches import Batch, collate
from hrlaif.nn.chat import Chat, Conversation
from hrlaif.nn.forward import logits
from hrlaif.nn.products import hasten

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model lives and in which number format."""

    device: torch.device
    dtype: torch.dtype

    @property
    def tokens_per_pass(self) -> int:
        """Tokens that one forward and backward pass holds where the configuration leaves it to us."""
        # On a CPU larger passes are no faster, and their activations are most of what a training holds.
        return 512 if self.device.type == "cpu" else 16384


@dataclass(slots=True)
class Backbone:
    """A loaded model with its chat rendering. `base` is the name or folder that adapters are trained on.

    `first_layer` is where passes that are given lower states begin; `forks` says that two responses to one prompt may
    run as one row. With `recompute`, passes with a gradient trade time for memory: each layer is computed again on the
    way back.
    """

    model: Any
    chat: Chat
    base: str
    place: Placement
    first_layer: int = 0
    forks: bool = False
    recompute: bool = False

    @property
    def trunk(self) -> Any:
        """The transformer without its head: token ids in, hidden states out; adapters stay in place."""
        inner = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        return inner.base_model

    @property
    def inner(self) -> Any:
        """The transformers model under the adapters."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def shares_openings(self) -> bool:
        """True where every layer keeps keys and values of all tokens, so that one computation serves many rows."""
        config = self.inner.config.get_text_config()
        slides = (getattr(config, "sliding_window", None) or self.max_length) < self.max_length
        kinds = getattr(config, "layer_types", None) or ["sliding_attention" if slides else "full_attention"]
        return set(kinds) == {"full_attention"}

    def batch(self, conversations: Sequence[Conversation], lower: Sequence[torch.Tensor] | None = None) -> Batch:
        """Conversations laid out for this model; `lower` is what its `first_layer` lower layers made of each."""
        recompute = self.recompute and torch.is_grad_enabled()
        return collate(
            conversations,
            pad_id=self.chat.pad_id,
            device=self.place.device,
            # A layer that runs twice would put the opening's keys into the cache twice.
            share_opening=self.shares_openings and not recompute,
            lower=lower,
            first_layer=self.first_layer,
            recompute=recompute,
        )

    @property
    def max_length(self) -> int:
        """Tokens that the model has positions for; a very large number where it does not say."""
        return int(getattr(self.inner.config.get_text_config(), "max_position_embeddings", None) or 1 << 30)

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return int(self.inner.config.get_text_config().hidden_size)


def placement(device: str, dtype: str) -> Placement:
    """`auto` is the first GPU with bfloat16 where it can, otherwise the CPU with float32.

    Raises:
        ConfigError: An unknown device or number format, or a GPU that is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        where = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"model.device: {device!r} is no device; use auto, cpu, cuda or cuda:0.") from error
    if where.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"model.device: {device!r}, but torch sees no GPU here. Use auto or cpu.")
    if dtype == "auto":
        on_gpu = where.type == "cuda" and torch.cuda.is_bf16_supported()
        return Placement(where, torch.bfloat16 if on_gpu else torch.float32)
    if dtype not in DTYPES:
        raise ConfigError(f"model.dtype: {dtype!r} is not one of auto, {', '.join(DTYPES)}.")
    return Placement(where, DTYPES[dtype])


def load_causal(base: str, place: Placement) -> Backbone:
    """A causal language model in evaluation mode (dropout off), weights frozen."""
    model = _load(transformers.AutoModelForCausalLM, base, place)
    _check_head(model, base)
    chat = load_chat(base, eos=getattr(model.generation_config, "eos_token_id", None))
    return Backbone(model, chat, base, place)


def load_scorer(base: str, place: Placement) -> Backbone:
    """A model with one scalar output per sequence, as reward models are stored; weights frozen."""
    model = _load(transformers.AutoModelForSequenceClassification, base, place, num_labels=1)
    chat = load_chat(base)
    # transformers finds the score position by skipping padding on the right, so padding must not look like an end.
    model.config.get_text_config().pad_token_id = chat.pad_id
    model.config.pad_token_id = chat.pad_id
    return Backbone(model, chat, base, place)


def load_chat(base: str, *, eos: int | list[int] | None = None) -> Chat:
    """The tokenizer of a model or of an adapter folder."""
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{base}: no tokenizer that transformers loads ({_first_line(error)}).") from error
    return Chat(tokenizer, generation_eos=eos)


def adapter_base(folder: Path) -> str | None:
    """The base model that an adapter folder names, None where the folder holds a whole model.

    Raises:
        ModelError: The adapter names no base.
    """
    config = folder / "adapter_config.json"
    if not config.exists():
        return None
    base = json.loads(config.read_text("utf-8")).get("base_model_name_or_path")
    if not base:
        raise ModelError(f"{config}: names no base_model_name_or_path, so nothing can be loaded under the adapter.")
    return str(base)


def find_base(folder: Path, base: str | None = None) -> str | None:
    """Like `adapter_base`, but `base` wins over what the folder says, and a folder that moved away is an error."""
    named = adapter_base(folder)
    if named is None:
        return None
    chosen = base or named
    looks_like_path = chosen.startswith((".", "/", "~")) or chosen.count("/") > 1
    if looks_like_path and not Path(chosen).is_dir():
        raise ModelError(
            f"{folder}: its base model {chosen} is not there (moved or deleted). Put it back, name its new place as "
            "the base model, or change base_model_name_or_path in adapter_config.json."
        )
    return chosen


def same_base(one: str | None, other: str) -> bool:
    """True where two names stand for the same model: the same hub name, or the same folder."""
    return one is not None and (one == other or (Path(one).is_dir() and Path(one).resolve() == Path(other).resolve()))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' loading bars and notes off the terminal; our own messages say what matters."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def _load(kind: Any, base: str, place: Placement, **options: Any) -> Any:
    try:
        with quiet():
            model = kind.from_pretrained(base, dtype=place.dtype, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"{base}: transformers cannot load it as a language model ({_first_line(error)}). "
            "Give a folder with config.json and safetensors, or the name of a model on the hub."
        ) from error
    model.requires_grad_(False)
    hasten(model)
    return model.to(place.device).eval()


@torch.no_grad()
def _check_head(model: Any, base: str) -> None:
    """Our head on the trunk's states must be the model's own logits: architectures differ in what they do there."""
    tokens_BT = torch.arange(3, device=model.device)[None]
    own_BTV = model(input_ids=tokens_BT).logits.float()
    ours_BTV = logits(model, model.base_model(input_ids=tokens_BT).last_hidden_state)
    if not torch.allclose(own_BTV, ours_BTV, rtol=1e-2, atol=1e-2):
        raise ModelError(
            f"{base}: an architecture ({type(model).__name__}) that computes its logits in a way hrlaif does not know. "
            "Use another model."
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
