"""The steps that read labels and responses side by side: no file is held, and files that do not fit are an error."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hrlaif.artifacts import Journal, read_manifest, read_records, write_json, write_records
from hrlaif.config import Config, PairsSection
from hrlaif.errors import DataError
from hrlaif.make import labelled, make_pairs
from hrlaif.make_report import costs, judge_on_verified
from hrlaif.pipeline import STAGES
from hrlaif.plan import Step, plan
from hrlaif.run import Run
from hrlaif.types import (
    Attack,
    Basis,
    Cost,
    Evidence,
    Finish,
    HarmOutcome,
    HarmVerdict,
    Judgement,
    Label,
    Message,
    Outcome,
    Pair,
    Prompt,
    RedTeamCase,
    Response,
    Split,
    Task,
    Verdict,
    Verification,
)

LEFT_OUT = {"pair: beyond labels.max_calls": 5, "prompt: no correct answer": 1}


def judged(prompt: str, first: int, second: int, verdict: Verdict = Verdict.FIRST) -> Label:
    ids = (prompt, f"{prompt}/{first}", f"{prompt}/{second}")
    p_first = {Verdict.FIRST: 0.8, Verdict.SECOND: 0.2}.get(verdict, 0.5)
    calls = tuple(Judgement(*ids, p_first, verdict, "judge", "A", Cost(1, 10, 1)) for _ in range(2))
    return Label(*ids, p_first, verdict, Basis.JUDGE, Evidence(judgements=calls))


LABELS = [judged("m0", 0, 1), judged("m1", 0, 1, Verdict.SECOND), judged("m1", 1, 2, Verdict.TIE), judged("o", 1, 0)]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Two checkable prompts (response 0 is right, 1 wrong, 2 unreadable), an open one, and one of the other split."""
    prompts = [
        Prompt("m0", (Message("user", "1 + 1?"),), "sums", Task.MATH, reference="2"),
        Prompt("held out", (Message("user", "Hi"),), "chat", Task.OPEN, split=Split.EVALUATION),
        Prompt("m1", (Message("user", "2 + 2?"),), "sums", Task.MATH, reference="4"),
        Prompt("o", (Message("user", "Hello"),), "chat", Task.OPEN),
    ]
    responses = [
        Response(f"{name}/{k}", name, f"text {k} of {name}", "policy", k, Finish.STOP)
        for name in ("m0", "m1", "o")
        for k in range(3)
    ]
    outcomes = (Outcome.CORRECT, Outcome.WRONG, Outcome.UNREADABLE)
    verifications = [
        Verification(f"{name}/{k}", outcome, None, "rule", cost=Cost(1, 100, 1))
        for name in ("m0", "m1")
        for k, outcome in enumerate(outcomes)
    ]
    files = {"prompts": prompts, "responses": responses, "verifications": verifications}
    for name, records in files.items():
        write_records(tmp_path / f"{name}.jsonl", records, fingerprint=name)
    write_records(tmp_path / "rlaif" / "labels.jsonl", LABELS, fingerprint="l", left_out=LEFT_OUT)
    with Run(Config(run_dir=str(tmp_path), arms=("rlaif",))) as opened:
        yield opened


def step(run: Run, name: str) -> Step:
    return next(one for one in plan(STAGES, run.config) if one.stage.name == name)


def test_labels_join_their_prompts_as_both_files_are_read(run: Run) -> None:
    found = labelled(run, "rlaif")
    assert next(found)[1] == LABELS[:1]
    assert [(group.prompt.id, [*group.verifications], made) for group, made in found] == [
        ("m1", ["m1/0", "m1/1", "m1/2"], LABELS[1:3]),
        ("o", [], LABELS[3:]),
    ]


@pytest.mark.parametrize("labels", [[LABELS[1], LABELS[0]], [*LABELS, judged("held out", 0, 1)]])
def test_labels_that_stand_elsewhere_than_their_responses_are_an_error(run: Run, labels: list[Label]) -> None:
    write_records(run.folder / "rlaif" / "labels.jsonl", labels, fingerprint="l")
    with pytest.raises(DataError, match=f"label of prompt '{labels[-1].prompt_id}'.*make them again"):
        list(labelled(run, "rlaif"))


def test_pairs_come_in_order_and_what_made_none_is_counted_once_even_after_a_restart(run: Run) -> None:
    making = step(run, "pairs")
    # Another attempt died after the first prompt.
    with Journal(making.path, fingerprint=making.fingerprint) as journal:
        journal.append([Pair("m0", (), "from the first attempt", "x", 0.8, Basis.JUDGE, "sums")])
    make_pairs(run, making)
    made = list(read_records(making.path, Pair))
    assert [pair.chosen for pair in made] == ["from the first attempt", "text 1 of m1", "text 1 of o"]
    manifest = read_manifest(making.path)
    assert manifest is not None
    assert manifest["dropped"] == {"tie": 1, **LEFT_OUT}
    assert manifest["by_basis"] == {"judge": 3}


def test_a_judges_probabilities_are_scaled_by_the_slope_that_calibration_found_where_that_is_wanted(run: Run) -> None:
    plain, path = step(run, "pairs"), run.folder / "calibration.json"
    write_json(path, {"slope": 2.0})
    scaled = Run(run.config.model_copy(update={"pairs": PairsSection(calibrated=True)}))
    making = step(scaled, "pairs")
    # Runs that do not want it keep the pairs that they have.
    assert plain.stage.settings(run.config) == run.config.pairs.model_dump(mode="json", exclude={"calibrated"})
    assert making.stage.settings(scaled.config) != plain.stage.settings(run.config)
    make_pairs(run, plain)
    said = [pair.probability for pair in read_records(plain.path, Pair)]
    make_pairs(scaled, making)
    assert [pair.probability for pair in read_records(making.path, Pair)] == pytest.approx(
        [p * p / (p * p + (1 - p) * (1 - p)) for p in said]
    )
    assert (read_manifest(making.path) or {})["slope"] == 2.0
    write_json(path, {"agreement": 0.7})
    with pytest.raises(DataError, match=r"calibration\.json has no slope"):
        make_pairs(scaled, making)


def test_red_team_pairs_that_begin_alike_are_thinned_out(run: Run) -> None:
    harmful = HarmOutcome.HARMFUL
    cases = []
    for number in range(4):
        attack = Attack(f"a{number}", f"a{number}", (Message("user", "Lie!"),), "plain", "S5")
        response = Response(f"a{number}/0", attack.id, "A lie.", "policy", 0, Finish.STOP)
        verdict = HarmVerdict(response.id, harmful, 3, "S5", (harmful, harmful), "judge", "")
        cases.append(RedTeamCase(attack, response, verdict, f"I would rather not say {number}", "A lie."))
    hybrid = Run(run.config.model_copy(update={"arms": ("rlaif", "hrlaif")}))
    counts = {harmful.value: 4, HarmOutcome.UNJUDGED.value: 0, "responses": 4}
    write_records(run.folder / "hrlaif" / "red_team.jsonl", cases, fingerprint="r", counts=counts)
    write_records(run.folder / "hrlaif" / "labels.jsonl", [], fingerprint="l")
    (making,) = (one for one in plan(STAGES, hybrid.config) if one.stage.name == "pairs" and one.arm == "hrlaif")
    make_pairs(hybrid, making)
    # At most a twentieth of the pairs, yet one of each opening.
    assert [pair.chosen for pair in read_records(making.path, Pair)] == ["I would rather not say 0"]
    assert (read_manifest(making.path) or {})["dropped"]["red team: opening too frequent"] == 3


def test_the_judge_is_measured_on_the_pairs_that_the_verifier_knows(run: Run) -> None:
    # m0: 0 over 1 is right; m1: 1 over 0 is wrong; the others have no right and wrong side.
    found = judge_on_verified(run, step(run, "report"))
    assert found is not None
    assert (found["agreement"], found["pairs"]) == (0.5, 2)


def test_costs_add_up_what_the_evidence_holds(run: Run) -> None:
    found = costs(run, step(run, "report"))["labels"]["rlaif"]
    # Four labels with two calls of 11 tokens each.
    assert (found["labels"], found["calls"], found["tokens"], found["calls_per_label"]) == (4, 8, 88, 2.0)
