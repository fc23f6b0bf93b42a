"""What the larger trainers read, row for row."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hrlaif.config import Config
from hrlaif.errors import ConfigError
from hrlaif.handoff import ENGINES, export

SYSTEM = {"role": "system", "content": "Be brief."}
SUM = [{"role": "user", "content": "What is 2 + 2?"}]
TEA = [SYSTEM, {"role": "user", "content": "How do I make tea?"}]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def pair(prompt: list[dict[str, str]], chosen: str, rejected: str, **more: object) -> dict[str, Any]:
    sides = {"chosen": chosen, "rejected": rejected}
    return {
        "prompt": prompt,
        **{key: [{"role": "assistant", "content": text}] for key, text in sides.items()},
        **more,
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_pairs_are_role_and_content_lists_and_harmful_ones_stay_behind(
    run: tuple[Path, Config], tmp_path: Path, engine: str
) -> None:
    out = export(*run, engine=engine, arm="hrlaif", out=tmp_path / "out")
    # log(0.99 / 0.01) = log 99 = 4.5951; half a surrogate pair has no UTF-8 form.
    first = {"margin": 4.5951, "probability": 0.99, "basis": "verifier", "category": "math", "prompt_id": "sum"}
    second = {"margin": 1.3863, "probability": 0.8, "basis": "judge", "category": "open", "prompt_id": "tea"}
    assert rows(out / "pairs.jsonl") == [pair(SUM, "4", "5", **first), pair(TEA, "Boil water.", "No ?", **second)]
    assert json.loads((out / "counts.json").read_text()) == {
        "by_basis": {"judge": 1, "verifier": 1},
        "by_split": {"evaluation": 1, "train": 2},
        "by_source": {"kitchen": 1, "not named": 1, "sums": 1},
        "left_out": {"pairs of red teaming": 1, "train prompts of red teaming": 1},
    }
    everything = "".join(path.read_text(errors="replace") for path in out.iterdir())
    assert "hurt people" not in everything
    assert "With a knife" not in everything
    card = (out / "README.md").read_text()
    assert "| verifier | 1 |\n| all | 2 |" in card
    assert "Labels that made no pair in the run: tie 3.\n" in card
    assert "Licence." in card


@pytest.mark.parametrize("engine", ["trl", "openrlhf"])
def test_prompts_carry_their_id_as_label(run: tuple[Path, Config], tmp_path: Path, engine: str) -> None:
    out = export(*run, engine=engine, arm="hrlaif", out=tmp_path / "out")
    assert rows(out / "prompts.jsonl") == [
        {"prompt": SUM, "label": "sum", "datasource": "math", "reference": "4"},
        {"prompt": TEA, "label": "tea", "datasource": "open", "reference": ""},
    ]
    assert [row["label"] for row in rows(out / "evaluation.jsonl")] == ["pick"]


def test_verl_gets_parquet_with_all_that_its_reward_function_needs(run: tuple[Path, Config], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the data extra: pip install 'hrlaif[data]'")
    out = export(*run, engine="verl", arm="hrlaif", out=tmp_path / "out")
    info = {"index": 0, "split": "train", "id": "sum", "task": "math", "question": "What is 2 + 2?", "choices": []}
    tea = info | {"index": 1, "id": "tea", "task": "open", "question": "How do I make tea?"}
    train = parquet.read_table(out / "train.parquet").to_pylist()
    assert train == [
        {
            "data_source": "hrlaif/math",
            "prompt": SUM,
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "4"},
            "extra_info": info,
        },
        {
            "data_source": "hrlaif/open",
            "prompt": TEA,
            "ability": "open",
            "reward_model": {"style": "model", "ground_truth": ""},
            "extra_info": tea,
        },
    ]
    (picked,) = parquet.read_table(out / "evaluation.parquet").to_pylist()
    assert picked["extra_info"]["choices"] == ["sky", "blood"]
    assert picked["reward_model"] == {"style": "rule", "ground_truth": "B"}


def test_harmful_texts_come_along_when_asked_for(run: tuple[Path, Config], tmp_path: Path) -> None:
    out = export(*run, engine="trl", arm="hrlaif", out=tmp_path / "out", with_red_team=True)
    assert [row["prompt_id"] for row in rows(out / "pairs.jsonl")] == ["sum", "tea", "bomb"]
    assert [row["label"] for row in rows(out / "prompts.jsonl")] == ["sum", "tea", "bomb"]
    assert "found harmful" in (out / "README.md").read_text()


@pytest.mark.parametrize("engine", ENGINES)
def test_scripts_are_valid_shell_and_carry_the_runs_own_values(
    run: tuple[Path, Config], tmp_path: Path, engine: str
) -> None:
    out = export(*run, engine=engine, arm="hrlaif", out=tmp_path / "out")
    for script in out.glob("*.sh"):
        assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
        assert script.stat().st_mode & 0o111
    script = (out / "run.sh").read_text()
    if engine == "openrlhf":
        # 6 steps of 4 rollouts over 2 prompts: 12 passes.
        assert "DEFAULT_MODEL='org/base model'\n" in script
        assert "--train.num_episodes 12 " in script
        assert "--algo.kl.init_coef 0.05 " in script
    if engine == "verl":
        assert "algorithm.use_kl_in_reward=True " in script
        assert 'data.val_files="$PWD/evaluation.parquet" ' in script
    if engine == "trl":
        assert 'model_name_or_path: "org/base model"\n' in (out / "rloo.yaml").read_text()


def test_nothing_that_is_there_is_overwritten(run: tuple[Path, Config], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(ConfigError, match=r"holds files already"):
        export(*run, engine="trl", arm="hrlaif", out=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
    with pytest.raises(ConfigError, match=r"is a file"):
        export(*run, engine="trl", arm="hrlaif", out=tmp_path / "out" / "mine")
