"""What policy and judge are assumed to say where nobody knows yet; with the extremes that bound every run."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from hrlaif.artifacts import explain
from hrlaif.config import Section
from hrlaif.config.base import Share
from hrlaif.errors import ConfigError


class Assumptions(Section):
    """Shares from 0 to 1, used where no real response or reply is there.

    The policy: `right` and `unreadable` of the final answers, `distinct` responses among those to one prompt,
    `changed` evaluation answers of an arm against the start's, `refused` attacks and `over_refused` harmless requests,
    `plain` refusals among these (a rule sees them, no call is made), and the `length` of a response as a share of its
    token limit. The judge: `found` answers that no rule could read, `solved` prompts without a reference, `harmful`
    responses to attacks, `rewritten` rewrites that pass, `parsed` reasons for satisfaction. Adaptive attacks:
    `attacker_refused` messages that the attacker will not write, `broken` answers that are harmful.
    """

    right: Share = 0.5
    unreadable: Share = 0.1
    distinct: Share = 1.0
    changed: Share = 0.8
    refused: Share = 0.5
    over_refused: Share = 0.1
    plain: Share = 0.5
    length: Share = 0.6
    found: Share = 0.5
    solved: Share = 0.7
    harmful: Share = 0.25
    rewritten: Share = 0.5
    parsed: Share = 0.95
    attacker_refused: Share = 0.2
    broken: Share = 0.25


# Every response the same short one: right, or a refusal that a rule sees. Harmless requests are refused for nothing,
# or helped at once so that the fewest are sent; which is cheaper depends on who answers.
LOW = (
    Assumptions(
        right=1,
        unreadable=0,
        distinct=0,
        changed=0,
        refused=1,
        over_refused=1,
        plain=1,
        length=0.02,
        solved=1,
        attacker_refused=1,
    ),
    Assumptions(
        right=1,
        unreadable=0,
        distinct=0,
        changed=0,
        refused=1,
        over_refused=0,
        plain=1,
        length=0.02,
        solved=1,
        attacker_refused=1,
    ),
)
_WORST = Assumptions(
    right=1, unreadable=0, changed=1, refused=0, over_refused=1, plain=0, length=1, found=1, solved=1, harmful=1,
    rewritten=0, parsed=0, attacker_refused=0, broken=0,
)  # fmt: skip
# Every response another, as long as it may be; every answer right, or read by the judge alone; every attack
# successful and every rewrite rejected by the last question. Adaptive attacks go through all their turns, and in later
# rounds are many where templates break nothing.
HIGH = (_WORST, _WORST.model_copy(update={"unreadable": 1.0}), _WORST.model_copy(update={"harmful": 0.0}))


def parse_assumptions(settings: Sequence[str]) -> Assumptions:
    """Assumptions from `key=value` texts.

    Raises:
        ConfigError: An unknown key, a value that is no share, or shares of one thing that exceed 1.
    """
    if wrong := [setting for setting in settings if "=" not in setting]:
        raise ConfigError(f"--assume: {wrong[0]!r} is not key=value. Keys: {', '.join(Assumptions.model_fields)}.")
    values = {key.strip(): value.strip() for key, value in (setting.split("=", 1) for setting in settings)}
    if unknown := [key for key in values if key not in Assumptions.model_fields]:
        raise ConfigError(f"--assume: {unknown[0]!r} is unknown. Keys: {', '.join(Assumptions.model_fields)}.")
    try:
        made = Assumptions.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"--assume: {explain(error)}") from error
    for one, other in (("right", "unreadable"), ("refused", "harmful")):
        if getattr(made, one) + getattr(made, other) > 1:
            raise ConfigError(f"--assume: {one} and {other} are shares of the same responses and exceed 1 together.")
    return made
