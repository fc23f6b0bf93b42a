"""Tests of pair weights and margins."""

from __future__ import annotations

import pytest

from hrlaif.config import RewardSection, parse
from hrlaif.errors import ConfigError, DataError
from hrlaif.nn.chat import Conversation
from hrlaif.reward.data import TokenPair
from hrlaif.reward.weights import described, weigh, weight_of
from hrlaif.types import Basis, Pair


def item(basis: Basis, category: str) -> TokenPair:
    pair = Pair("p", (), "", "", 0.9, basis, category)
    return TokenPair(pair, Conversation((1,), (2,)), Conversation((1,), (3,)))


MATH, CHAT = item(Basis.VERIFIER, "math"), item(Basis.JUDGE, "chat")
SECTION = RewardSection(weights={"verifier": 3.0, "category:math": 0.5}, margin={"verifier": 1.0})


def test_a_weight_is_the_product_of_basis_and_category() -> None:
    assert weight_of(MATH.pair, SECTION.weights) == 1.5
    assert weight_of(CHAT.pair, SECTION.weights) == 1.0
    # A basis is no category.
    assert weight_of(item(Basis.JUDGE, "verifier").pair, SECTION.weights) == 1.0


def test_weights_have_a_mean_of_1_over_training_and_the_same_scale_on_held_out_pairs() -> None:
    train, held = weigh([MATH, CHAT, CHAT, CHAT], [MATH], SECTION)
    # 1.5 + 3 = 4.5 over four pairs.
    assert [one.weight for one in train] == pytest.approx([1.5 / 1.125, *[1 / 1.125] * 3])
    assert held[0].weight == train[0].weight
    assert [one.margin for one in train] == [1.0, 0.0, 0.0, 0.0]


def test_pairs_of_weight_0_are_not_trained_on() -> None:
    section = RewardSection(weights={"judge": 0.0})
    train, held = weigh([MATH, CHAT], [CHAT], section)
    assert [(one.pair.category, one.weight) for one in train] == [("math", 1.0)]
    assert [one.weight for one in held] == [0.0]
    with pytest.raises(DataError, match="every training pair the weight 0"):
        weigh([CHAT], [], section)
    stopping = section.model_copy(update={"early_stop": parse_reward(early_stop={"every": 1}).early_stop})
    with pytest.raises(DataError, match="no held-out pair with a weight"):
        weigh([MATH], [CHAT], stopping)


def test_the_effective_count_is_what_equal_weights_would_need() -> None:
    train, _ = weigh([MATH, CHAT], [], RewardSection(weights={"verifier": 3.0}))
    found = described(train)
    # (3 + 1)^2 / (9 + 1).
    assert found["effective_pairs"] == pytest.approx(1.6)
    assert found["by_basis"]["verifier"] == {"pairs": 1, "weight_share": pytest.approx(0.75)}
    assert set(found["by_category"]) == {"math", "chat"}


def parse_reward(**values: object) -> RewardSection:
    return parse({"reward": values}, where="test").reward


def test_unknown_names_are_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"unknown name 'verifer'; known are verifier, .*human, or \"category:NAME\""):
        parse_reward(weights={"verifer": 2.0})
    with pytest.raises(ConfigError, match=r"unknown name 'category:math'; known are verifier, .*human$"):
        parse_reward(margin={"category:math": 1.0})
    with pytest.raises(ConfigError, match="greater than or equal to 0"):
        parse_reward(weights={"judge": -1.0})
    with pytest.raises(ConfigError, match=r"no prompt has the category 'maths'; there are chat, math\."):
        parse_reward(weights={"category:maths": 1.0}).check_categories({"math", "chat"})
    parse_reward(weights={"category:math": 1.0, "judge": 1.0}).check_categories({"math", "chat"})


def test_early_stopping_needs_held_out_pairs() -> None:
    with pytest.raises(ConfigError, match="early_stop needs held-out pairs"):
        parse_reward(early_stop={"every": 5}, held_out=0.0)
