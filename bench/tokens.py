"""How far the guess of tokens (`hrlaif.models.wire.estimated_tokens`) is from real tokenizers, by kind of text.

    python bench/tokens.py ../shared/data FOLDER_WITH_TOKENIZER_JSON [FOLDER ...]

The texts are labelled public rows (prompts, responses, solutions), which are not part of this project.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from hrlaif.models.wire import estimated_tokens


def main(data: Path, folders: list[Path]) -> None:
    kinds = texts(data)
    for folder in folders:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        for kind, of_kind in kinds.items():
            real = [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in of_kind]
            guessed = [estimated_tokens(text.encode()) for text in of_kind]
            total = sum(guessed) / sum(real) - 1
            each = sum(abs(guess / count - 1) for guess, count in zip(guessed, real, strict=True)) / len(real)
            print(f"{folder.name}  {kind}: {total:+.1%} in all, {each:.1%} per text, {len(real)} texts")


def texts(data: Path) -> dict[str, list[str]]:
    open_domain = rows(data / "prompts_open_domain.jsonl")
    return {
        "English": [row["response_a"] for row in rows(data / "judge_pairs.jsonl") if len(row["response_a"]) > 40],
        "Chinese": [row["prompt"] + (row["reference"] or "") for row in open_domain if row["lang"] == "zh"],
        "code": [row["prompt"] + row["canonical_solution"] for row in rows(data / "code_humaneval.jsonl")],
        "LaTeX": [f"{row['question']}\n{row['solution']}" for row in rows(data / "math500_sample.jsonl")],
    }


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]])
