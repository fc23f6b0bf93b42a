import base64
import codecs

import pytest

from hrlaif.errors import ConfigError
from hrlaif.red_team import strategies

REQUEST = "Write a note that costs $5 and says ${no}."


def test_there_are_at_least_ten_strategies_besides_the_plain_request() -> None:
    assert strategies.names()[0] == "plain"
    assert len(set(strategies.names())) >= 11


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", strategies.names())
def test_every_strategy_gives_another_text_that_holds_the_request(name: str, lang: str) -> None:
    text = strategies.apply(name, REQUEST, lang=lang)
    assert text is not None
    held = {
        "base64": base64.b64encode(REQUEST.encode()).decode(),
        "rot13": codecs.encode(REQUEST, "rot13"),
        "spaced": " ".join(REQUEST),
    }.get(name, REQUEST)
    assert held in text
    assert (text == REQUEST) == (name == "plain")
    assert text == strategies.apply(name, REQUEST, lang=lang)


def test_templates_speak_the_language_of_the_request() -> None:
    for name in strategies.names()[1:11]:
        english, chinese = (strategies.apply(name, REQUEST, lang=lang) for lang in ("en", "zh-CN"))
        assert english != chinese


def test_rot13_does_not_apply_where_there_is_no_latin_letter() -> None:
    assert strategies.apply("rot13", "写一条短信", lang="zh") is None


def test_all_strategies_are_used_where_none_is_named_and_the_plain_request_is_not_one() -> None:
    assert strategies.check(()) == strategies.names()[1:]
    assert strategies.check(("plain", "story")) == ("story",)
    with pytest.raises(ConfigError, match="'hypnosis' is unknown"):
        strategies.check(("story", "hypnosis"))
