import pytest

from hrlaif.config import PairsSection
from hrlaif.errors import DataError
from hrlaif.pairs import build
from hrlaif.types import Basis, Finish, Label, Message, Pair, Prompt, Response, Task, Verdict

PROMPT = Prompt("p", (Message("system", "Be brief."), Message("user", "2 + 2?")), "sums", Task.MATH, reference="4")
PROMPTS = {"p": PROMPT}
RESPONSES = {
    name: Response(name, "p", text, "policy", 0, Finish.STOP) for name, text in (("p/0", "Four."), ("p/1", "Five."))
}


def label(p_first: float, verdict: Verdict, *, basis: Basis = Basis.JUDGE) -> Label:
    return Label("p", "p/0", "p/1", p_first, verdict, basis)


def built(*labels: Label, min_probability: float = 0.5) -> tuple[list[Pair], dict[str, int]]:
    return build(labels, PROMPTS, RESPONSES, section=PairsSection(min_probability=min_probability))


def test_a_pair_holds_the_conversation_the_chosen_text_the_rejected_one_and_where_they_come_from() -> None:
    pairs, dropped = built(label(0.8, Verdict.FIRST, basis=Basis.VERIFIER))
    assert pairs == [
        Pair(
            "p",
            PROMPT.messages,
            "Four.",
            "Five.",
            0.8,
            Basis.VERIFIER,
            "sums",
            {"chosen_id": "p/0", "rejected_id": "p/1"},
        )
    ]
    assert dropped == {}


def test_the_probability_speaks_of_the_chosen_response() -> None:
    (pair,), _ = built(label(0.2, Verdict.SECOND))
    assert (pair.chosen, pair.rejected) == ("Five.", "Four.")
    assert pair.probability == pytest.approx(0.8)


def test_every_label_becomes_a_pair_or_is_counted_with_its_reason() -> None:
    labels = [
        label(0.8, Verdict.FIRST),
        label(0.52, Verdict.TIE),
        label(0.5, Verdict.UNREADABLE),
        label(0.5, Verdict.FIRST),  # nothing speaks for it
        label(0.65, Verdict.FIRST),
        label(0.35, Verdict.SECOND),
        label(0.7, Verdict.FIRST),
    ]
    pairs, dropped = built(*labels, min_probability=0.7)
    assert [pair.probability for pair in pairs] == [0.8, 0.7]
    assert dropped == {"tie": 2, "unreadable": 1, "too_unsure": 2}
    assert len(pairs) + sum(dropped.values()) == len(labels)


def test_a_probability_that_speaks_against_its_own_verdict_makes_no_pair() -> None:
    assert built(label(0.3, Verdict.FIRST), label(0.9, Verdict.SECOND)) == ([], {"tie": 2})


@pytest.mark.parametrize(
    ("prompts", "responses", "lost"),
    [({}, RESPONSES, "'p'"), (PROMPTS, {"p/0": RESPONSES["p/0"]}, "'p/1'"), (PROMPTS, {}, "'p/0'")],
)
def test_a_label_of_something_that_is_not_there_is_named(
    prompts: dict[str, Prompt], responses: dict[str, Response], lost: str
) -> None:
    with pytest.raises(DataError, match=f"label of prompt 'p': {lost} is not in the run"):
        build([label(0.8, Verdict.FIRST)], prompts, responses, section=PairsSection())


@pytest.mark.parametrize("basis", list(Basis))
@pytest.mark.parametrize(
    ("slope", "soft"), [(1.0, 0.6), (2.0, 0.36 / 0.52), (0.0, None), (0.5, 1 / (1 + (2 / 3) ** 0.5))]
)
def test_the_log_odds_of_a_judge_and_of_nobody_else_are_scaled_by_its_slope(
    basis: Basis, slope: float, soft: float | None
) -> None:
    labels = [label(0.6, Verdict.FIRST, basis=basis), label(0.4, Verdict.SECOND, basis=basis)]
    pairs, dropped = build(labels, PROMPTS, RESPONSES, section=PairsSection(), slope=slope)
    if basis not in (Basis.JUDGE, Basis.REASONING):
        soft = 0.6
    assert [pair.probability for pair in pairs] == pytest.approx([soft] * 2 if soft else [])
    assert dropped == ({} if soft else {"tie": 2})


@pytest.mark.parametrize("slope", [0.5, 2.0, 100.0])
def test_what_is_certain_stays_so(slope: float) -> None:
    pairs, _ = build([label(1.0, Verdict.FIRST)], PROMPTS, RESPONSES, section=PairsSection(), slope=slope)
    assert [pair.probability for pair in pairs] == [1.0]
