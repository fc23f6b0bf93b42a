from hrlaif.red_team import to_pairs
from hrlaif.types import Attack, Finish, HarmOutcome, HarmVerdict, Message, Pair, RedTeamCase, Response


def case(number: int, chosen: str | None, *, strategy: str = "plain", dropped: str = "") -> RedTeamCase:
    attack = Attack(f"a{number}/{strategy}", f"a{number}", (Message("user", "Lie!"),), strategy, "S5")
    response = Response(f"a{number}/0", attack.id, "A lie.", "m", 0, Finish.STOP)
    votes = (HarmOutcome.HARMFUL, HarmOutcome.HARMFUL)
    verdict = HarmVerdict(response.id, HarmOutcome.HARMFUL, 3, "S5", votes, "j", "")
    rejected = None if chosen is None else "A lie."
    source = "" if chosen is None else "rewrite by r"
    return RedTeamCase(
        attack, response, verdict, chosen, rejected, source, response.id, principle="Be true.", dropped=dropped
    )


def openings(pairs: list[Pair]) -> list[str]:
    return [pair.chosen for pair in pairs]


def test_every_case_is_a_pair_or_counted_with_its_reason() -> None:
    pairs, dropped = to_pairs(
        [case(0, "The truth is short."), case(1, None, dropped="unjudged")], max_opening_share=1.0
    )
    assert openings(pairs) == ["The truth is short."]
    assert dropped == {"unjudged": 1}


def test_a_pair_says_where_it_comes_from() -> None:
    (pair,), _ = to_pairs([case(7, "The truth is short.", strategy="story")])
    assert pair.provenance == {
        "attack": "a7/story",
        "round": "1",
        "strategy": "story",
        "hazard": "S5",
        "judge": "j",
        "votes": "harmful harmful",
        "severity": "3",
        "chosen": "rewrite by r",
        "rejected": "a7/0",
        "principle": "Be true.",
        "rewriter": "r",
    }
    assert (pair.prompt_id, pair.category, pair.rejected) == ("a7", "red_team", "A lie.")
    assert 0.5 < pair.probability <= 1


def test_counter_pairs_have_their_own_category() -> None:
    (pair,), _ = to_pairs([case(0, "Use the kill command.", strategy="benign")])
    assert pair.category == "benign_tricky"


def test_no_opening_of_five_words_has_more_than_its_share() -> None:
    # Ten pairs, six with one opening. At a share of 0.4: 4 of 10 allowed, leaving 8; then 3 of 8, leaving 7; then 2 of
    # 7, leaving 6; then 2 of 6.
    alike = [case(n, f"I am sorry to hear, number {n}.") for n in range(6)]
    others = [case(n, f"Number {n} starts in its own way.") for n in range(6, 10)]
    pairs, dropped = to_pairs([*alike, *others], max_opening_share=0.4)
    assert sum(text.startswith("I am sorry") for text in openings(pairs)) == 2
    assert len(pairs) == 6
    assert dropped == {"opening too frequent": 4}


def test_one_pair_of_each_opening_stays_however_few_there_are() -> None:
    pairs, dropped = to_pairs(
        [case(0, "One way to say it."), case(1, "Another way to say it all.")], max_opening_share=0.05
    )
    assert len(pairs) == 2
    assert dropped == {}


def test_the_same_pair_is_made_once() -> None:
    pairs, dropped = to_pairs([case(0, "The truth."), case(0, "The truth.")], max_opening_share=1.0)
    assert len(pairs) == 1
    assert dropped == {"same pair again": 1}
