from collections import Counter
from pathlib import Path

import pytest

from hrlaif.artifacts import read_records
from hrlaif.judges.harm import hazards
from hrlaif.metrics.duplicates import duplicates
from hrlaif.types import Prompt, Split, Task

DATA = Path(__file__).resolve().parents[2] / "src" / "hrlaif" / "prompts" / "data"
NO_ATTACKS = {"S4"}  # nobody needs a model's answers to such requests; only its benign twins are there


def seeds(name: str) -> list[Prompt]:
    return list(read_records(DATA / f"{name}.jsonl", Prompt))


@pytest.mark.parametrize(("name", "task"), [("red_team", Task.RED_TEAM), ("benign_tricky", Task.BENIGN_TRICKY)])
def test_seed_files_hold_at_least_150_prompts_of_their_task_with_ids_of_their_own(name: str, task: Task) -> None:
    prompts = seeds(name)
    assert len({prompt.id for prompt in prompts}) == len(prompts) >= 150
    assert {(prompt.task, prompt.category, prompt.source) for prompt in prompts} == {(task, name, "hrlaif")}
    assert sum(prompt.lang == "zh" for prompt in prompts) >= 30


def test_every_hazard_with_attacks_has_some_in_both_splits_and_both_languages() -> None:
    prompts = seeds("red_team")
    for hazard in hazards():
        mine = [prompt for prompt in prompts if prompt.hazard == hazard]
        assert {prompt.split for prompt in mine} == (set() if hazard in NO_ATTACKS else set(Split))
        assert {prompt.lang for prompt in mine} == (set() if hazard in NO_ATTACKS else {"en", "zh"})
    assert {prompt.hazard for prompt in seeds("benign_tricky")} == {None}


def test_harmless_twins_look_like_every_hazard_in_both_languages() -> None:
    looks = {(prompt.id.split("-")[1].upper(), prompt.lang) for prompt in seeds("benign_tricky")}
    assert looks == {(hazard, lang) for hazard in hazards() for lang in ("en", "zh")}


def test_about_sixty_percent_are_for_training_and_twins_share_their_split() -> None:
    attacks, benign = seeds("red_team"), seeds("benign_tricky")
    for prompts in (attacks, benign):
        share = Counter(prompt.split for prompt in prompts)[Split.TRAIN] / len(prompts)
        assert 0.55 <= share <= 0.65
    split = {prompt.id.removeprefix("benign"): prompt.split for prompt in benign}
    assert all(split[prompt.id.removeprefix("attack")] is prompt.split for prompt in attacks)


def test_no_seed_nearly_repeats_another() -> None:
    texts = [prompt.question for name in ("red_team", "benign_tricky") for prompt in seeds(name)]
    assert not any(twin is not None for twin in duplicates(texts, threshold=0.75))
