"""Low-rank adapters on one backbone: the policy's, the critic's, the reward model's, none for the reference."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model, load_peft_weights, set_peft_model_state_dict
from peft.tuners.lora import Linear as LoraLinear

from hrlaif.config import LoraSection
from hrlaif.errors import ConfigError, ModelError
from hrlaif.nn.backbone import Backbone, Placement, load_causal, load_scorer, quiet
from hrlaif.nn.forward import has_layers
from hrlaif.nn.fused import fuse
from hrlaif.nn.products import PackedLinear, available
from hrlaif.nn.seeds import derive

# PEFT saves the adapter of this name in the folder itself, any other in a folder below.
TRAINED = "default"
REWARD = "reward"
CRITIC = "critic"


def trainable(base: str, section: LoraSection, place: Placement, *, seed: int, scorer: bool = False) -> Backbone:
    """A backbone to train: with adapters (rank > 0), or with all its weights free (rank 0).

    All weights are trained in float32 on any device: half precision would round most updates away. Adapters are float32
    on a backbone of any precision.
    """
    if section.rank == 0:
        place = Placement(place.device, torch.float32)
    backbone = load_scorer(base, place) if scorer else load_causal(base, place)
    if section.gradient_checkpointing and not has_layers(backbone.trunk):
        raise ConfigError(f"lora.gradient_checkpointing: {base} does not hold its layers in a list. Leave it off.")
    backbone.recompute = section.gradient_checkpointing
    if section.rank == 0:
        backbone.model.requires_grad_(True)
        return backbone
    config = _config(backbone, section, scorer=scorer)
    with torch.random.fork_rng(devices=[]), _no_warnings():
        torch.manual_seed(derive(seed, "adapters"))
        backbone.model = get_peft_model(backbone.model, config).eval()
    fuse(backbone.model)
    if scorer:
        backbone.inner.score.float()
    return backbone


def _config(backbone: Backbone, section: LoraSection, *, scorer: bool = False) -> LoraConfig:
    config = LoraConfig(
        r=section.rank,
        lora_alpha=section.alpha,
        lora_dropout=section.dropout,
        **_targets(backbone, section.layers),
        task_type=TaskType.SEQ_CLS if scorer else TaskType.CAUSAL_LM,
        modules_to_save=["score"] if scorer else None,
    )
    config.base_model_name_or_path = backbone.base
    return config


def add_critic(backbone: Backbone, section: LoraSection, *, seed: int) -> None:
    """Put a second adapter to train beside the policy's, for a critic that shares none of its weights."""
    with torch.random.fork_rng(devices=[]), _no_warnings():
        torch.manual_seed(derive(seed, "critic"))
        backbone.model.add_adapter(CRITIC, _config(backbone, section))
    fuse(backbone.model)
    backbone.model.eval().to(backbone.place.device)
    _train_again(backbone.model)


def _targets(backbone: Backbone, layers: int) -> dict[str, Any]:
    """PEFT's options for adapters on all linear maps of the last `layers` layers, or of all (0)."""
    count = int(backbone.inner.config.get_text_config().num_hidden_layers)
    if not 0 < layers < count:
        return {"target_modules": "all-linear"}
    # PEFT takes layer numbers only beside a list of names.
    linear = [name for name, module in backbone.trunk.named_modules() if isinstance(module, torch.nn.Linear)]
    names = sorted({name.rsplit(".", 1)[-1] for name in linear if name.startswith("layers.")})
    return {"target_modules": names, "layers_to_transform": list(range(count - layers, count))}


def untouched_layers(backbone: Backbone) -> int:
    """How many layers, counted from the bottom, no adapter touches: what they compute never changes."""
    if not hasattr(backbone.model, "peft_config"):
        return 0
    adapted = [name for name, _ in backbone.trunk.named_parameters() if "lora_" in name]
    numbers = [int(found.group(1)) for name in adapted if (found := re.match(r"layers\.(\d+)\.", name))]
    return min(numbers) if len(numbers) == len(adapted) and numbers else 0


def attach_reward(backbone: Backbone, folder: Path) -> torch.nn.Linear:
    """Put a reward model's adapter beside the policy's, and return its score head.

    Raises:
        ModelError: The adapter does not fit the backbone.
    """
    config = LoraConfig.from_pretrained(str(folder))
    config.modules_to_save, config.task_type, config.inference_mode = None, TaskType.CAUSAL_LM, True
    weights = load_peft_weights(str(folder), device="cpu")
    lora = {key: value for key, value in weights.items() if "lora_" in key}
    score = next(
        (value for key, value in weights.items() if key.endswith(("score.weight", "score.modules_to_save.weight"))),
        None,
    )
    if score is None:
        raise ModelError(f"{folder}: the adapter holds no score head. Train the reward model again.")
    with _no_warnings():
        if hasattr(backbone.model, "add_adapter") and hasattr(backbone.model, "peft_config"):
            backbone.model.add_adapter(REWARD, config)
        else:
            backbone.model = get_peft_model(backbone.model, config, adapter_name=REWARD)
        result = set_peft_model_state_dict(backbone.model, lora, adapter_name=REWARD)
    fuse(backbone.model)
    missing = [key for key in result.missing_keys if f".{REWARD}." in key]
    if result.unexpected_keys or missing:
        wrong = (list(result.unexpected_keys) + missing)[0]
        raise ModelError(f"{folder}: the reward adapter does not fit the model {backbone.base} (at {wrong}).")
    head = torch.nn.Linear(score.shape[1], 1, bias=False, device=backbone.place.device, dtype=torch.float32)
    head.weight.data.copy_(score)
    backbone.model.eval().to(backbone.place.device)
    return head.requires_grad_(False)


def load_adapter(backbone: Backbone, folder: Path) -> None:
    """Put a saved adapter (and a reward model's score head) on a backbone, to be used and not trained.

    In float32 the adapter is merged into the weights, which is faster; in half precision small updates would be lost.
    """
    try:
        with _no_warnings():
            model = PeftModel.from_pretrained(backbone.model, str(folder)).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder}: the adapter does not fit {backbone.base}: {str(error).splitlines()[0]}") from error
    backbone.model = model.merge_and_unload() if backbone.place.dtype == torch.float32 else model
    backbone.model.requires_grad_(False)


@contextlib.contextmanager
def using(model: Any, name: str | None) -> Iterator[None]:
    """Run with the named adapter, or with none; afterwards the policy's is active, and what is trained is trainable."""
    if not hasattr(model, "peft_config"):
        yield
        return
    try:
        if name is None:
            with model.disable_adapter():
                yield
        else:
            model.set_adapter(name, inference_mode=name not in (TRAINED, CRITIC))
            yield
    finally:
        _train_again(model)


def _train_again(model: Any) -> None:
    """Make the policy's adapter the active one. PEFT freezes all others, the critic's is trained too."""
    if TRAINED in model.peft_config:
        model.set_adapter(TRAINED)
    if CRITIC in model.peft_config:
        for name, parameter in model.named_parameters():
            if "lora_" in name and f".{CRITIC}." in name:
                parameter.requires_grad_(True)


@contextlib.contextmanager
def merged(backbone: Backbone) -> Iterator[None]:
    """Run the trained adapter as part of plain weights: decoding is mostly many small products, half of them adapters'.

    The sums are made anew in copies that live as long as the context, so that the weights themselves never drift. In
    half precision small updates would be lost in the sum, so there the adapter stays beside the weights.
    """
    layers = [
        (parent, name, layer)
        for parent in backbone.model.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, LoraLinear)
    ]
    if not layers or backbone.place.dtype != torch.float32:
        yield
        return
    try:
        with torch.no_grad():
            for parent, name, layer in layers:
                setattr(parent, name, _sum(layer))
        yield
    finally:
        for parent, name, layer in layers:
            setattr(parent, name, layer)


def _sum(layer: Any) -> Any:
    """The linear map that a layer and its trained adapter are together."""
    base = layer.get_base_layer()
    if TRAINED not in layer.lora_A:
        return base
    weight_OI = base.weight + layer.get_delta_weight(TRAINED)
    if base.weight.device.type == "cpu" and available():
        return PackedLinear(weight_OI, base.bias)
    plain = torch.nn.Linear(base.in_features, base.out_features, bias=False, device="meta")
    plain.weight = torch.nn.Parameter(weight_OI, requires_grad=False)
    plain.bias = base.bias
    return plain


def save_trained(backbone: Backbone, folder: Path) -> None:
    """Write the trained adapter (or the whole model) and the tokenizer as PEFT and transformers load them."""
    with _no_warnings():
        if hasattr(backbone.model, "peft_config"):
            backbone.model.peft_config[TRAINED].base_model_name_or_path = backbone.base
            backbone.model.save_pretrained(str(folder), selected_adapters=[TRAINED], save_embedding_layers=False)
        else:
            backbone.model.save_pretrained(str(folder))
    backbone.chat.tokenizer.save_pretrained(str(folder))


def save_whole(backbone: Backbone, folder: Path, dtype: torch.dtype) -> None:
    """Write the trained model as one that needs no adapter, with the tokens at which its responses end.

    Merged in float32 and then stored as `dtype`. The backbone is used up.
    """
    with _no_warnings(), quiet():
        model = backbone.model
        if hasattr(model, "peft_config"):
            model = model.to("cpu", torch.float32).merge_and_unload()
        model = model.to(dtype)
        model.generation_config.eos_token_id = sorted(backbone.chat.stop_ids)
        model.generation_config.pad_token_id = backbone.chat.pad_id
        model.save_pretrained(str(folder))
    backbone.chat.tokenizer.save_pretrained(str(folder))


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
