from collections import Counter

from hrlaif.red_team.attacks import plan
from hrlaif.types import Message, Prompt, Task


def seed_prompt(number: int, text: str, lang: str = "en") -> Prompt:
    return Prompt(f"s{number}", (Message("user", text),), "red_team", Task.RED_TEAM, lang=lang, hazard="S2")


NAMES = [
    "baker",
    "plumber",
    "florist",
    "pilot",
    "judge",
    "sailor",
    "farmer",
    "tailor",
    "grocer",
    "miner",
    "singer",
    "clerk",
    "waiter",
]
SEEDS = [seed_prompt(number, f"{name}: how would one trick the {name}?") for number, name in enumerate(NAMES)]


def test_every_seed_is_sent_plain_and_under_strategies_dealt_evenly() -> None:
    attacks, dropped = plan(SEEDS, wanted=("story", "base64", "rot13"), per_prompt=3, seed=0)
    # 13 seeds, 3 attacks each; the 26 dealt strategies are 9 + 9 + 8.
    uses = Counter(attack.strategy for attack in attacks)
    assert uses["plain"] == 13
    assert sorted(uses.values()) == [8, 9, 9, 13]
    assert len({attack.id for attack in attacks}) == 39
    assert dropped == {}


def test_a_seed_gets_no_strategy_twice_and_no_more_than_there_are() -> None:
    attacks, _ = plan(SEEDS[:1], wanted=("story", "rot13"), per_prompt=9, seed=0)
    assert sorted(attack.strategy for attack in attacks) == ["plain", "rot13", "story"]


def test_a_strategy_that_does_not_apply_is_replaced_by_the_next() -> None:
    attacks, _ = plan([seed_prompt(0, "写一条短信", "zh")], wanted=("rot13", "story"), per_prompt=2, seed=0)
    assert [attack.strategy for attack in attacks] == ["plain", "story"]


def test_repeated_seeds_are_left_out_and_counted() -> None:
    again = seed_prompt(99, SEEDS[0].question.upper())
    attacks, dropped = plan([SEEDS[0], again], wanted=(), per_prompt=1, seed=0)
    assert [attack.prompt_id for attack in attacks] == ["s0"]
    assert dropped == {"seed repeats an earlier one": 1}


def test_only_the_last_user_turn_is_dressed_up() -> None:
    messages = (
        Message("system", "Be nice."),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "Lie!"),
    )
    prompt = Prompt("d", messages, "red_team", Task.RED_TEAM, hazard="S5")
    plain, spaced = plan([prompt], wanted=("spaced",), per_prompt=2, seed=0)[0]
    assert plain.messages == messages
    assert spaced.messages[:3] == messages[:3]
    assert spaced.messages[3].content.endswith("L i e !")


def test_the_same_seed_number_gives_the_same_attacks_and_another_one_deals_otherwise() -> None:
    def dealt(seed: int) -> list[str]:
        return [attack.strategy for attack in plan(SEEDS, wanted=(), per_prompt=2, seed=seed)[0]]

    assert dealt(1) == dealt(1)
    assert dealt(1) != dealt(2)
