"""The bundled model as a folder that transformers loads, converted once from the GGUF file for training."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import transformers

from hrlaif.artifacts import writing_to
from hrlaif.models.bundled import gguf_path, weights_folder


def folder() -> Path:
    """The folder with safetensors and tokenizer (540 MB); converting takes about 20 s, once."""
    target = weights_folder()
    if (target / "config.json").exists():
        return target
    gguf = gguf_path()
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    with writing_to(target):
        partial.mkdir(parents=True, exist_ok=True)
        try:
            _convert(gguf, partial)
            if not (target / "config.json").exists():
                shutil.rmtree(target, ignore_errors=True)
                partial.replace(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target


def _convert(gguf: Path, out: Path) -> None:
    source = {"gguf_file": gguf.name}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, **source)
        # Without dequantize, save_pretrained refuses to write what came from a GGUF file.
        model = transformers.AutoModelForCausalLM.from_pretrained(
            gguf.parent, **source, quantization_config=transformers.GgufConfig(dequantize=True)
        )
    tokenizer.save_pretrained(out)
    model.save_pretrained(out)
