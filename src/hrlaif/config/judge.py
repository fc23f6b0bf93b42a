"""The judge's sections: an endpoint, the judge that it serves, and the panel of judges that vote.

Keys of endpoints never stand in a configuration: it names the environment variable that holds them.
"""

from __future__ import annotations

import re
from string import Template
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from hrlaif.config.base import Count, NonNegative, Positive, Section

STANDARD_PROMPT = "standard"
JUDGE_PROMPTS = (STANDARD_PROMPT, "correctness", "errors_first")


class EndpointSection(Section):
    """One OpenAI-compatible endpoint, e.g. `https://host/v1`. An empty url stands for the bundled model."""

    url: str = ""
    model: str = ""
    key_env: str = ""
    weight: Positive = 1.0
    in_flight: Count = 64
    timeout_s: Positive = 120.0
    retries: Annotated[int, Field(ge=0)] = 6
    requests_per_minute: NonNegative = 0
    tokens_per_minute: NonNegative = 0
    usd_per_million_prompt_tokens: NonNegative = 0.0
    usd_per_million_completion_tokens: NonNegative = 0.0

    @field_validator("url")
    @classmethod
    def _plain_url(cls, url: str) -> str:
        # First, because the other messages show the url.
        if set(url) & set("@?#"):
            raise ValueError("holds credentials or a query; put the key into an environment variable instead")
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0):
            raise ValueError(f"{url!r} is not an http(s) address such as http://127.0.0.1:8000/v1")
        return url.rstrip("/")

    @field_validator("key_env")
    @classmethod
    def _variable_name(cls, key_env: str) -> str:
        if key_env and not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", key_env):
            raise ValueError(
                "must be the name of an environment variable; a key itself never stands in a configuration"
            )
        return key_env

    @model_validator(mode="after")
    def _model_is_named(self) -> EndpointSection:
        if self.url and not self.model:
            raise ValueError("has a url but no model; name the model that the endpoint serves")
        if self.model and not self.url:
            raise ValueError(f"names the model {self.model!r} but no url; set the url of the endpoint that serves it")
        return self


JudgeReply = Literal["letter", "json"]


class JudgeEndpoint(EndpointSection):
    """An endpoint that compares. `reply`: one letter, or a JSON object with reason, verdict and confidence.

    `reply_max_tokens` 0 leaves 4 tokens for a letter and 512 for an object; a reasoning model needs room to think.
    """

    reply: JudgeReply = "letter"
    reply_max_tokens: Annotated[int, Field(ge=0)] = 0


class PanelMember(JudgeEndpoint):
    """One voice of the panel, with its `weight` in the vote. What it does not set is as in `judge`: the reply always,
    the endpoint where it has no url of its own.

    `prompt` is a shipped wording or the path of a template, whose text becomes `template` when the file is loaded.
    """

    prompt: str = STANDARD_PROMPT
    template: str = ""

    @model_validator(mode="after")
    def _model_is_named(self) -> PanelMember:
        if self.url and not self.model:
            raise ValueError("has a url but no model; name the model that the endpoint serves")
        return self

    @model_validator(mode="after")
    def _prompt_can_be_asked(self) -> PanelMember:
        shipped = ", ".join(JUDGE_PROMPTS)
        has_template = "template" in self.model_fields_set
        if has_template and self.prompt in JUDGE_PROMPTS:
            raise ValueError(f"a template needs a prompt name of its own, other than {shipped}")
        if not has_template and self.prompt not in JUDGE_PROMPTS:
            raise ValueError(f"prompt {self.prompt!r} is neither one of {shipped} nor a file that can be read")
        if has_template and (problems := _template_problems(self.template)):
            raise ValueError(
                f"the template of prompt {self.prompt!r} {' and '.join(problems)}; it needs $request, $first and "
                "$second, and may say with $form where the form of the reply is asked for"
            )
        return self

    @model_serializer(mode="wrap")
    def _only_what_is_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        """A default written out would read as set, and no longer be as in `judge`."""
        return {key: value for key, value in handler(self).items() if key in self.model_fields_set}


def _template_problems(text: str) -> list[str]:
    found = list(Template.pattern.finditer(text))
    names = {f"${match['named'] or match['braced']}" for match in found if match["named"] or match["braced"]}
    problems = []
    if missing := [name for name in ("$request", "$first", "$second") if name not in names]:
        problems.append(f"lacks {', '.join(missing)}")
    if unknown := sorted(names - {"$request", "$first", "$second", "$form"}):
        problems.append(f"holds {', '.join(unknown)}")
    if any(match["invalid"] is not None for match in found):
        problems.append("holds a $ without a name (write $$ for the sign itself)")
    return problems


class JudgeSection(JudgeEndpoint):
    """The judge, and more endpoints that serve the same model (`replicas`). `budget_usd` 0 means no limit.

    `calibration_pairs` is on how many of the shipped labelled pairs it is measured first (0: all); with `gate`, a run
    whose judge is no better than a coin on them stops. With a `panel`, its members compare in place of the judge.
    """

    replicas: tuple[EndpointSection, ...] = ()
    panel: tuple[PanelMember, ...] = ()
    budget_usd: NonNegative = 0.0
    gate: bool = True
    calibration_pairs: Annotated[int, Field(ge=0)] = 0

    @property
    def members(self) -> tuple[PanelMember, ...]:
        """Who compares, with every key as it holds: the panel, or without one the judge alone."""
        return tuple(self._completed(member) for member in self.panel or (PanelMember(),))

    def endpoints(self, member: PanelMember) -> tuple[EndpointSection, ...]:
        """All that serve a member's model: the judge's own endpoints, with their limits, where it is the same model."""
        is_judge = (member.url, member.model) == (self.url, self.model)
        return (self, *self.replicas) if is_judge else (member,)

    def _completed(self, member: PanelMember) -> PanelMember:
        given = {key: getattr(member, key) for key in member.model_fields_set}
        if given.get("url"):
            shared = {key: getattr(self, key) for key in ("reply", "reply_max_tokens")}
        else:
            given.pop("url", None)
            shared = {key: getattr(self, key) for key in JudgeEndpoint.model_fields if key != "weight"}
        return PanelMember(**{**shared, **given})

    @model_validator(mode="after")
    def _members_differ(self) -> JudgeSection:
        seen: dict[tuple[str, ...], int] = {}
        for place, member in enumerate(self.members):
            if member.model and not member.url:
                raise ValueError(f"panel.{place} names the model {member.model!r} but no url, and neither does judge")
            voice = (member.model, member.prompt, member.reply)
            if (first := seen.setdefault(voice, place)) != place:
                raise ValueError(
                    f"panel.{place} is the same judge as panel.{first} (model {member.model!r}, prompt "
                    f"{member.prompt!r}, reply {member.reply!r}); change one of these, or raise the weight of one"
                )
        return self

    @model_validator(mode="after")
    def _budget_has_prices(self) -> JudgeSection:
        endpoints = (self, *self.replicas, *self.members)
        prices = [one.usd_per_million_prompt_tokens + one.usd_per_million_completion_tokens for one in endpoints]
        if self.budget_usd and any(one.url for one in endpoints) and not any(prices):
            raise ValueError(
                "has budget_usd but no prices, so nothing could be counted; set "
                "usd_per_million_prompt_tokens and usd_per_million_completion_tokens"
            )
        return self
