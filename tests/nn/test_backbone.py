"""Tests of loading models, and of what is said where that fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hrlaif.errors import ConfigError, ModelError
from hrlaif.nn.backbone import find_base, load_causal, load_scorer, placement

CPU = placement("cpu", "auto")


def test_the_cpu_gets_single_precision_unless_told_otherwise() -> None:
    assert placement("cpu", "auto").dtype == torch.float32
    assert placement("cpu", "bfloat16").dtype == torch.bfloat16


def test_an_unknown_device_or_number_format_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"model.device: 'toaster'"):
        placement("toaster", "auto")
    with pytest.raises(ConfigError, match=r"model.dtype: 'int3' is not one of auto, float32"):
        placement("cpu", "int3")


def test_what_is_not_a_model_is_an_error_that_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"transformers cannot load it .* Give a folder"):
        load_causal(str(tmp_path), CPU)


def test_a_loaded_model_is_frozen_and_without_dropout(tiny_model: Path) -> None:
    backbone = load_causal(str(tiny_model), CPU)
    assert not backbone.model.training
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())
    assert backbone.hidden_size == 32


def test_a_scorer_skips_padding_that_is_no_end_token(tiny_model: Path) -> None:
    backbone = load_scorer(str(tiny_model), CPU)
    assert backbone.model.config.pad_token_id == backbone.chat.pad_id != backbone.chat.end_id


def test_the_base_is_what_the_adapter_names_unless_given(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/model"}))
    assert find_base(tmp_path) == "org/model"
    assert find_base(tmp_path, str(tiny_model)) == str(tiny_model)
    assert find_base(tiny_model) is None


def test_a_base_folder_that_moved_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/gone/model"}))
    with pytest.raises(ModelError, match=r"base model /gone/model is not there .*base_model_name_or_path"):
        find_base(tmp_path)


def test_an_adapter_without_a_base_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="names no base_model_name_or_path"):
        find_base(tmp_path)
