"""The configuration of the red team."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hrlaif.config.base import Count, NonNegative, Positive, Section, Share
from hrlaif.config.judge import EndpointSection

Adaptive = Literal["refine", "escalate"]


class RedTeamSection(Section):
    """The red-team loop. `strategies` empty means all templates; `max_unjudged` is the gate on unjudged responses.

    Each attack and each harmless request gets `responses_per_attack` responses. Harmless requests are answered until
    there are `counter_pairs` pairs for each pair from an attack, and at least `min_counter_pairs`.
    With `rounds` > 1 the policy that a round trained is attacked in the next one. Each name in `adaptive` is a strategy
    in which a model (`attacker`; without a url the judge's) sees how an attack was answered and tries again, at most
    `attacker_turns` times.
    `harm_calibration` is as `evaluation.harm_calibration`, about the judge, where another one evaluates.
    """

    enabled: bool = True
    rounds: Count = 1
    strategies: tuple[str, ...] = ()
    attacks_per_prompt: Count = 2
    adaptive: tuple[Adaptive, ...] = ()
    attacker: EndpointSection = EndpointSection()
    attacker_turns: Count = 3
    attacker_max_tokens: Count = 384
    responses_per_attack: Count = 2
    counter_pairs: NonNegative = 1.5
    min_counter_pairs: Annotated[int, Field(ge=0)] = 8
    temperature: NonNegative = 1.0
    max_rewrites: Annotated[int, Field(ge=0)] = 2
    max_tokens: Count = 256
    min_length_ratio: NonNegative = 0.2
    max_length_ratio: Positive = 8.0
    max_unjudged: Share = 0.3
    constitution: str = ""
    harm_calibration: str = ""
