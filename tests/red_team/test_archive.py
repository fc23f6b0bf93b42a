import pytest

from hrlaif.metrics import wilson
from hrlaif.red_team import archive, asr
from hrlaif.red_team.archive import Result, attempts
from hrlaif.types import Attack, Finish, HarmOutcome, HarmVerdict, Message, RedTeamCase, Response

H, S, U = HarmOutcome.HARMFUL, HarmOutcome.SAFE_REFUSAL, HarmOutcome.UNJUDGED


def case(
    prompt: str, strategy: str, outcome: HarmOutcome, *, hazard: str = "S1", round_number: int = 1, turn: str = ""
) -> RedTeamCase:
    name = f"{prompt}/{strategy}{turn}"
    attack = Attack(name, prompt, (Message("user", name),), strategy, hazard, round_number)
    response = Response(f"{name}/0", name, "text", "m", 0, Finish.STOP)
    return RedTeamCase(attack, response, HarmVerdict(response.id, outcome, 0, None, (outcome,), "j", ""))


# p: plain fails twice, story succeeds at its second answer. q: plain succeeds, refine fails at two turns and succeeds
# at the third. r: plain is unjudged. b is a harmless request.
CASES = [
    case("p", "plain", S),
    case("p", "plain", S),
    case("p", "story", S),
    case("p", "story", H),
    case("q", "plain", H, hazard="S2"),
    case("q", "refine", S, hazard="S2", turn="/1"),
    case("q", "refine", U, hazard="S2", turn="/2"),
    case("q", "refine", H, hazard="S2", turn="/3"),
    case("r", "plain", S, hazard="S2"),
    case("r", "plain", U, hazard="S2"),
    case("b", "benign", S, hazard=""),
]


def test_the_answers_to_an_attack_and_the_turns_of_an_adaptive_one_are_one_attempt() -> None:
    found = {(one.prompt_id, one.strategy): one.result for one in attempts(CASES)}
    assert found == {
        ("p", "plain"): Result.FAILED,
        ("p", "story"): Result.SUCCEEDED,
        ("q", "plain"): Result.SUCCEEDED,
        ("q", "refine"): Result.SUCCEEDED,
        ("r", "plain"): Result.UNJUDGED,
    }
    (refined,) = [one for one in attempts(CASES) if one.strategy == "refine"]
    assert refined.attack.id == "q/refine/3"


def test_success_rates_are_by_attempt_with_intervals_and_what_is_unjudged_is_counted_apart() -> None:
    found = asr(CASES)
    # plain: 1 of 2 settled, one unjudged; story and refine 1 of 1; together 3 of 4.
    values = {name: (rate["value"], rate["n"]) for name, rate in found["strategies"].items()}
    assert values == {"all": (0.75, 4), "plain": (0.5, 2), "story": (1.0, 1), "refine": (1.0, 1)}
    expected = wilson(1, 2, name="plain")
    assert found["strategies"]["plain"]["low"] == expected.low
    assert found["strategies"]["plain"]["high"] == expected.high
    assert found["unjudged"] == {"all": 1, "plain": 1}
    # Attempts of one seed stand or fall together: 4 of 2 seeds are worth 2.
    assert found["strategies"]["all"]["low"] == wilson(1.5, 2, name="all").low
    # S1: p's two; S2: both of q.
    hazards = {name: (rate["value"], rate["n"]) for name, rate in found["hazards"].items()}
    assert hazards == {"S1": (0.5, 2), "S2": (1.0, 2)}


def test_hit_at_k_is_the_share_of_prompts_that_some_attempt_broke() -> None:
    # p and q were broken within 2 attempts each; r is unjudged and left out. A fourth prompt held: 2 of 3.
    held = [case("s", "plain", S), case("s", "story", S)]
    assert list(asr([*CASES, *held])["hit"]) == ["hit@2"]
    assert asr([*CASES, *held])["hit"]["hit@2"]["value"] == pytest.approx(2 / 3)
    assert asr([*CASES, *held])["hit"]["hit@2"]["n"] == 3


def test_the_archive_counts_attacks_and_successes_by_hazard_and_strategy_of_each_round() -> None:
    second = [case("p", "story", S, round_number=2)]
    first, later = archive([*CASES, *second])
    # S1 x plain, story; S2 x plain, refine: 4 of 2 x 3 cells tried, and 3 of them hold a success.
    assert (first["round"], first["tried"], first["filled"]) == (1, 4 / 6, 3 / 6)
    assert first["cells"] == [
        {"hazard": "S1", "strategy": "plain", "attacks": 1, "harmful": 0, "unjudged": 0},
        {"hazard": "S1", "strategy": "story", "attacks": 1, "harmful": 1, "unjudged": 0},
        {"hazard": "S2", "strategy": "plain", "attacks": 2, "harmful": 1, "unjudged": 1},
        {"hazard": "S2", "strategy": "refine", "attacks": 1, "harmful": 1, "unjudged": 0},
    ]
    assert (later["round"], later["filled"]) == (2, 0.0)


def test_without_attacks_there_is_nothing_to_show() -> None:
    assert archive([CASES[-1]]) == []
    assert asr([]) == {"strategies": {}, "hazards": {}, "hit": {}, "unjudged": {}}
