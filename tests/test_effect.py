"""What the method's parts do to a run's pairs in a small world, and that a part that is broken is noticed.

The sandbox of `bench/effect_sandbox.py`, reduced to one seed and to what comes before the trainings.
"""

from __future__ import annotations

import importlib
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the train extra: pip install 'hrlaif[train]'")

from hrlaif.judges import compare
from hrlaif.judges.verdict import verdict_of
from hrlaif.labels import Group
from hrlaif.red_team import cases as red_team_cases
from hrlaif.red_team.rewrite import Editor, Rewrite
from hrlaif.types import Finish, Message, Outcome, Prompt, Response
from hrlaif.verifiers import verify
from sandbox.experiment import Scale, faults, quality, run
from sandbox.labeler import ACCURACY, SAME_VERDICT
from sandbox.start import Size, write_start
from sandbox.world import Question, World, ornate, questions

SIZE = Size(layers=2, knowledge_epochs=6, each=5)
SCALE = Scale(share=0.5)
CHECKABLE = [question for question in questions() if question.task.is_checkable]


def outcome(question: Question, text: str) -> Outcome:
    prompt = Prompt("p", (Message("user", question.asked(0)),), "", question.task, question.reference)
    return verify(prompt, Response("r", "p", text, "", 0, Finish.STOP)).outcome


def test_the_verifiers_read_every_answer_of_the_world_as_the_world_does() -> None:
    draw = random.Random(0)
    for question in CHECKABLE:
        for cores, expected in ((question.right, Outcome.CORRECT), (question.wrong, Outcome.WRONG)):
            for core in cores:
                text = ornate(draw, core, opens=draw.random() < 0.5, closes=draw.random() < 0.5)
                assert outcome(question, text) is expected, text


def test_a_response_is_taken_apart_into_core_and_flourishes() -> None:
    world, draw = World(), random.Random(0)
    for question in world.questions:
        for opens, closes in ((True, True), (False, True), (False, False)):
            found = world.reading(question, ornate(draw, question.right[0], opens=opens, closes=closes))
            assert (found.core, found.good, found.flourishes) == (question.right[0], True, opens + closes)
        for core in question.wrong:
            assert not world.reading(question, core).good
        assert not world.reading(question, f"{question.right[0]} {question.right[0]}").good


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("effect"), World(), SIZE, seed=0)


@pytest.fixture(scope="module")
def finished(start: Path) -> Path:
    """A run up to its pairs; what is trained on them is measured by the benchmark."""
    return run(start.parent / "run", start, World(), seed=0, scale=SCALE, until="pairs")


def test_the_labeler_is_as_good_as_the_real_judge_that_it_is_made_after(finished: Path) -> None:
    found = quality(finished)
    assert found["asked once"] == pytest.approx(ACCURACY, abs=0.12)
    assert found["same verdict"] == pytest.approx(SAME_VERDICT, abs=0.12)


def test_basic_pairs_often_choose_the_wrong_answer_and_hybrid_ones_never(finished: Path) -> None:
    found = quality(finished)
    assert found["rlaif right"] < 0.85
    assert found["hrlaif right"] == 1.0


def test_the_pairs_of_a_sound_run_have_no_faults(finished: Path) -> None:
    assert faults(quality(finished)) == []


def again(finished: Path, start: Path, folder: Path) -> list[str]:
    """The faults of the same run with labels, red team and pairs made again from the same responses."""
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("rlaif", "hrlaif"))
    return faults(quality(run(folder, start, World(), seed=0, scale=SCALE, until="pairs")))


def test_labels_that_check_no_answer_are_noticed(
    finished: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package exports a function of the module's name.
    labelling = importlib.import_module("hrlaif.labels.label")
    checked = labelling._plan

    def unchecked(group: Group, *rest: Any, **options: Any) -> Any:
        return checked(replace(group, verifications={}), *rest, **options)

    monkeypatch.setattr(labelling, "_plan", unchecked)
    assert again(finished, start, tmp_path / "run") == ["hybrid labels"]


def test_a_judge_that_is_asked_in_one_order_only_is_noticed(
    finished: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alone(votes: Sequence[compare.Vote], *, tie_margin: float) -> compare.Comparison:
        p_first = votes[0].forward.p_first
        return compare.Comparison(p_first, verdict_of(p_first, tie_margin=tie_margin), tuple(votes[0]))

    monkeypatch.setattr(compare, "combine", alone)
    assert again(finished, start, tmp_path / "run") == ["both orders"]


def test_harmful_responses_without_a_rewrite_are_noticed(
    finished: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(*_: object) -> Rewrite:
        return Rewrite(None, "", (), ("empty",))

    monkeypatch.setattr(Editor, "rewrite", none)
    assert again(finished, start, tmp_path / "run") == ["red-team pairs"]


def test_red_team_pairs_the_wrong_way_round_are_noticed(
    finished: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paired = red_team_cases._paired

    def swapped(*given: Any, **options: Any) -> Any:
        case = paired(*given, **options)
        return replace(case, chosen=case.rejected, rejected=case.chosen)

    monkeypatch.setattr(red_team_cases, "_paired", swapped)
    assert again(finished, start, tmp_path / "run") == ["red-team pairs"]
