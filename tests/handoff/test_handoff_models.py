"""What is published: a model's folder and the cards of models and data, as the Hub's own library reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hrlaif.artifacts import write_json, write_manifest, write_records
from hrlaif.config import Config
from hrlaif.errors import ConfigError, DataError
from hrlaif.handoff import export, export_model
from hrlaif.nn.card import write_card
from hrlaif.types import Label

PLACE = "/home/somebody/models/start"


def share(value: float, n: int = 40) -> dict[str, Any]:
    return {"name": "x", "value": value, "low": value - 0.1, "high": value + 0.1, "n": n, "unit": "share"}


@pytest.fixture
def trained(run: tuple[Path, Config]) -> tuple[Path, Config]:
    """The run with a policy and a reward model whose base is a folder of this machine, and an evaluation."""
    folder, config = run
    for part in ("policy", "reward"):
        home = folder / "hrlaif" / part
        (home / "checkpoints").mkdir(parents=True)
        (home / "events.out.tfevents.1").write_bytes(b"x")
        (home / "adapter_model.safetensors").write_bytes(b"\0\1weights")
        write_json(home / "adapter_config.json", {"base_model_name_or_path": PLACE, "r": 16})
        write_json(home / "summary.json", {"base": PLACE, "steps": 6})
        values: dict[str, object] = dict.fromkeys(
            ("steps", "rollouts", "kept_step", "first_reward", "kept_reward", "kl", "kl_weight", "learning_rate"), 1
        )
        values |= dict.fromkeys(("end_token", "quality", "train_pairs", "epochs", "max_tokens"), 2)
        write_card(home, package=f"hrlaif.{part}", template="card_adapter.txt", values={**values, "base": PLACE})
        write_manifest(home, fingerprint=part)
    metrics = {
        arm: {"all": {"satisfaction": share(value), "length": {**share(31.0), "unit": "words"}}}
        for arm, value in (("start", 0.5), ("hrlaif", 0.7))
    }
    summary = {
        "arms": ["start", "hrlaif"],
        "metrics": metrics,
        "differences": {"hrlaif": {"all": {"satisfaction": share(0.2)}}},
        "counts": {"prompts": 40},
        "sentences": ["hrlaif gives more satisfying answers than start."],
    }
    write_json(folder / "metrics.json", summary)
    write_json(
        folder / "calibration.json", {"agreement": 0.61, "agreement_low": 0.52, "agreement_high": 0.69, "pairs": 120}
    )
    return folder, config


def front(card: Path) -> dict[str, Any]:
    """The metadata as the Hub's library reads it."""
    hub = pytest.importorskip("huggingface_hub", reason="comes with transformers")
    found: dict[str, Any] = hub.metadata_load(card)
    return found


def test_a_policy_is_published_with_its_files_and_a_card_that_names_no_place_on_this_machine(
    trained: tuple[Path, Config], tmp_path: Path
) -> None:
    out = export_model(*trained, part="policy", arm="hrlaif", out=tmp_path / "out")
    names = {"README.md", "adapter_config.json", "adapter_model.safetensors", "summary.json", "manifest.json"}
    assert {path.name for path in out.iterdir()} == names
    assert (out / "adapter_model.safetensors").read_bytes() == b"\0\1weights"
    adapter = json.loads((out / "adapter_config.json").read_text())
    assert adapter == {"base_model_name_or_path": "org/base model", "r": 16}
    card = (out / "README.md").read_text()
    assert "/home/somebody" not in "".join(path.read_text(errors="replace") for path in out.iterdir())
    found = front(out / "README.md")
    assert (found["base_model"], found["library_name"], found["license"]) == ("org/base model", "peft", "other")
    assert (found["license_name"], found["license_link"]) == ("FILL-IN", "FILL-IN")
    assert found["pipeline_tag"] == "text-generation"
    (measured,) = found["model-index"][0]["results"]
    assert {one["type"]: one["value"] for one in measured["metrics"]} == {"satisfaction": 0.7, "length": 31.0}
    numbers = (
        "50.0 % (40.0 to 60.0, n = 40)",
        "70.0 % (60.0 to 80.0, n = 40)",
        "+20.0 points (+10.0 to +30.0, n = 40)",
    )
    assert f"| satisfaction | {' | '.join(numbers)} |" in card
    assert "| length | 31.0 words (30.9 to 31.1, n = 40) |" in card
    assert "| math | verifier | 1 |\n" in card
    assert "agrees with labelled pairs 61.0 % (52.0 to 69.0, n = 120)" in card
    assert "- hrlaif gives more satisfying answers than start." in card
    assert "trained with PPO for 1 steps" in card
    assert "## Limits" in card


def test_a_reward_models_card_keeps_how_it_is_used_and_claims_no_evaluation(
    trained: tuple[Path, Config], tmp_path: Path
) -> None:
    out = export_model(*trained, part="reward", arm="hrlaif", out=tmp_path / "out")
    card = (out / "README.md").read_text()
    assert front(out / "README.md")["pipeline_tag"] == "text-classification"
    assert "AutoModelForSequenceClassification" in card
    assert "## Evaluation" not in card
    assert "model-index" not in card


def test_a_base_that_only_this_machine_has_is_marked_to_be_filled_in(
    trained: tuple[Path, Config], tmp_path: Path
) -> None:
    folder, config = trained
    local = config.model_copy(update={"model": config.model.model_copy(update={"name": PLACE})})
    out = export_model(folder, local, part="policy", arm="hrlaif", out=tmp_path / "out")
    assert front(out / "README.md")["base_model"] == "FILL-IN"
    assert "where the base model is published" in (out / "README.md").read_text()
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == "FILL-IN"


def test_what_is_not_trained_cannot_be_published(run: tuple[Path, Config], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="hrlaif policy"):
        export_model(*run, part="policy", arm="hrlaif", out=tmp_path / "out")
    with pytest.raises(ConfigError, match="no arm 'human'"):
        export_model(*run, part="policy", arm="human", out=tmp_path / "out")


@pytest.mark.parametrize("engine", ["trl", "openrlhf", "verl"])
def test_a_data_card_says_which_files_are_which_split_and_how_labels_were_made(
    trained: tuple[Path, Config], tmp_path: Path, engine: str
) -> None:
    out = export(*trained, engine=engine, arm="hrlaif", out=tmp_path / "out")
    found = front(out / "README.md")
    assert (found["license"], found["license_name"], found["language"]) == ("other", "FILL-IN", ["en"])
    assert (found["size_categories"], found["tags"]) == (["n<1K"], ["preference", "hrlaif", "rlaif"])
    pairs, prompts = found["configs"]
    assert (out / pairs["data_files"]).exists()
    assert [one["split"] for one in prompts["data_files"]] == ["train", "test"]
    assert all((out / one["path"]).exists() for one in prompts["data_files"])
    card = (out / "README.md").read_text()
    assert "| open | judge | 1 |" in card
    assert "- `verifier`: a rule read both final answers" in card
    assert "red_team`:" not in card
    assert "agrees with labelled pairs 61.0 %" in card


def test_a_judge_that_is_served_from_a_folder_is_named_without_it(trained: tuple[Path, Config], tmp_path: Path) -> None:
    folder, config = trained
    judge = config.judge.model_copy(update={"model": "/home/somebody/models/judge-7b"})
    config = config.model_copy(update={"judge": judge})
    for out in (
        export(folder, config, engine="trl", arm="hrlaif", out=tmp_path / "data"),
        export_model(folder, config, part="policy", arm="hrlaif", out=tmp_path / "model"),
    ):
        card = (out / "README.md").read_text()
        assert "The judge (judge-7b) agrees" in card
        assert "/home/somebody" not in card


def test_the_card_of_the_human_arm_counts_its_raters_and_names_none(
    trained: tuple[Path, Config], tmp_path: Path
) -> None:
    folder, config = trained
    config = config.model_copy(update={"arms": ("hrlaif", "human")})
    (folder / "human").mkdir()
    for name in ("pairs.jsonl", "pairs.jsonl.manifest.json"):
        (folder / "human" / name).write_bytes((folder / "hrlaif" / name).read_bytes())
    people = {
        "raters": [{"rater": "anna", "flags": []}, {"rater": "ben", "flags": ["takes 1.0 s for a pair"]}],
        "votes": 30,
        "pairs_rated": 20,
        "agreement": {"alpha_preference": share(0.4)},
    }
    write_records(folder / "human" / "labels.jsonl", list[Label](), fingerprint="l", people=people)
    out = export(folder, config, engine="trl", arm="human", out=tmp_path / "out")
    card = (out / "README.md").read_text()
    assert "30 votes of 2 raters on 20 pairs, Krippendorff's alpha 0.40 (0.30 to 0.50); 1 of the raters" in card
    assert "anna" not in card
    assert front(out / "README.md")["tags"] == ["preference", "hrlaif", "rlhf"]
