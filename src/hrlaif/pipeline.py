"""The flow, in order: every stage with what it reads, what it writes, and what its result depends on."""

from __future__ import annotations

from hrlaif import artifacts, prompts
from hrlaif.config import BUNDLED, Config
from hrlaif.make import (
    harm_quality,
    make_answers,
    make_calibration,
    make_evaluation,
    make_labels,
    make_metrics,
    make_pairs,
    make_policy,
    make_prompts,
    make_red_team,
    make_report,
    make_responses,
    make_reward,
    make_sft,
    make_verifications,
)
from hrlaif.plan import Stage


def _prompt_settings(config: Config) -> object:
    """Prompts depend on what their files hold, not on where these lie."""
    section = config.prompts.model_dump(mode="json")
    for source in section["sources"]:
        del source["path"]
    return [section, [artifacts.file_hash(path) for path in prompts.input_files(config.prompts)]]


def _sft_settings(config: Config) -> object:
    """Demonstrations depend on what their files hold, and on the evaluation prompts that are kept out of them."""
    section = config.sft.model_dump(mode="json")
    for source in section["sources"]:
        del source["path"]
    hashes = [artifacts.file_hash(path) for path in prompts.input_files(config.sft)]
    return [config.model, section, hashes, _prompt_settings(config)]


def _decoding(config: Config) -> object:
    section = config.evaluation
    return [section.temperature, section.top_p, section.max_tokens, section.train_prompts]


def _judge(config: Config) -> object:
    """What everything but comparisons depends on."""
    return [config.judge.model or BUNDLED, config.judge.reply_max_tokens]


def _panel(config: Config) -> object:
    """What comparisons depend on: who votes, asked how, with what weight; not where they are served."""
    return [
        [one.model or BUNDLED, one.reply, one.reply_max_tokens, one.prompt, one.template, one.weight]
        for one in config.judge.members
    ]


def _evaluation_judge(config: Config) -> object:
    return config.evaluation.judge or [_judge(config), _panel(config)]


STAGES: tuple[Stage, ...] = (
    Stage(
        "sft",
        "sft",
        (),
        "sft",
        _sft_settings,
        make_sft,
        extra="train",
        wanted=lambda config: bool(config.sft.sources),
    ),
    Stage("prompts", "sample", (), "prompts.jsonl", _prompt_settings, make_prompts),
    Stage(
        "calibration",
        "label",
        (),
        "calibration.json",
        lambda config: [_panel(config), config.judge.calibration_pairs, config.labels.tie_margin],
        make_calibration,
    ),
    Stage(
        "responses",
        "sample",
        ("prompts.jsonl", "sft"),
        "responses.jsonl",
        lambda config: [config.model, config.responses],
        make_responses,
    ),
    Stage(
        "verifications",
        "label",
        ("prompts.jsonl", "responses.jsonl"),
        "verifications.jsonl",
        lambda config: [_judge(config), config.labels],
        make_verifications,
    ),
    Stage(
        "labels",
        "label",
        ("prompts.jsonl", "responses.jsonl", "verifications.jsonl"),
        "{arm}/labels.jsonl",
        lambda config: [_panel(config), config.labels],
        make_labels,
        over="arms",
    ),
    Stage(
        "red_team",
        "red-team",
        ("prompts.jsonl", "sft"),
        "{arm}/red_team.jsonl",
        lambda config: [_judge(config), config.model, config.responses.endpoint, config.red_team],
        make_red_team,
        over="hrlaif",
        wanted=lambda config: config.red_team.enabled,
    ),
    Stage(
        "pairs",
        "pairs",
        ("prompts.jsonl", "responses.jsonl", "verifications.jsonl", "{arm}/labels.jsonl", "{arm}/red_team.jsonl"),
        "{arm}/pairs.jsonl",
        lambda config: config.pairs,
        make_pairs,
        over="arms",
    ),
    Stage(
        "reward",
        "reward",
        ("{arm}/pairs.jsonl", "sft"),
        "{arm}/reward",
        lambda config: [config.model, config.reward],
        make_reward,
        extra="train",
        over="arms",
    ),
    Stage(
        "policy",
        "policy",
        ("prompts.jsonl", "{arm}/reward", "sft"),
        "{arm}/policy",
        lambda config: [config.model, config.policy],
        make_policy,
        extra="train",
        over="arms",
    ),
    Stage(
        "answers",
        "evaluate",
        ("prompts.jsonl", "{arm}/policy", "sft"),
        "answers/{arm}.jsonl",
        lambda config: [config.model, _decoding(config)],
        make_answers,
        extra="train",
        over="every",
    ),
    Stage(
        "evaluation",
        "evaluate",
        ("prompts.jsonl", "answers/{every}.jsonl", "{every}/reward"),
        "evaluation.jsonl",
        lambda config: [_evaluation_judge(config), config.evaluation.reasons, config.labels.tie_margin],
        make_evaluation,
        extra="train",
    ),
    Stage("metrics", "evaluate", ("evaluation.jsonl",), "metrics.json", harm_quality, make_metrics),
    Stage(
        "report",
        "report",
        ("evaluation.jsonl", "metrics.json", "calibration.json", "{every}/labels.jsonl", "{every}/pairs.jsonl"),
        "report.html",
        lambda config: config.report,
        make_report,
        extra="report",
        takes_what_is_there=True,
    ),
)
