"""The flow, in order: every stage with what it reads, what it writes, and what its result depends on."""

from __future__ import annotations

from pathlib import Path

from hrlaif import artifacts, benchmarks, human_eval, prompts
from hrlaif.config import BUNDLED, JUDGED_KINDS, Config
from hrlaif.judges.harm_quality import harm_cuts, harm_quality
from hrlaif.make import (
    make_answers,
    make_calibration,
    make_evaluation,
    make_labels,
    make_pairs,
    make_policy,
    make_prompts,
    make_responses,
    make_reward,
    make_sft,
    make_verifications,
)
from hrlaif.make_benchmarks import make_benchmark_items, make_benchmarks
from hrlaif.make_human import make_ratings, make_votes
from hrlaif.make_metrics import make_metrics
from hrlaif.make_red_team import make_red_team, make_regression
from hrlaif.make_report import make_report
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


def _harm_judge(config: Config) -> object:
    """What the red team's verdicts depend on: the judge, and where its scores are cut."""
    return [_judge(config), harm_cuts(config, config.judge)]


def _red_team(config: Config) -> object:
    # The calibration counts by the cuts that it gives the judge, not by where it lies.
    section = config.red_team.model_dump(mode="json", exclude={"harm_calibration"})
    return [_harm_judge(config), config.model, config.responses.endpoint, section]


def _panel(config: Config) -> object:
    """What comparisons depend on: who votes, asked how, with what weight; not where they are served."""
    return [
        [one.model or BUNDLED, one.reply, one.reply_max_tokens, one.prompt, one.template, one.weight]
        for one in config.judge.members
    ]


def _pairs(config: Config) -> object:
    """What becomes of labels; where the judge's slope is used, what it is measured on too."""
    section = config.pairs.model_dump(mode="json", exclude={"calibrated"})
    return [section, _panel(config), config.judge.calibration_pairs] if config.pairs.calibrated else section


def _evaluation_judge(config: Config) -> object:
    return [config.evaluation.judge or [_judge(config), _panel(config)], harm_cuts(config)]


def _regression(config: Config) -> object:
    """What the frozen set is made of and how it is answered and judged: the same in every round."""
    section = config.red_team
    decoding = [section.responses_per_attack, section.temperature, section.max_tokens]
    return [_harm_judge(config), config.model, section.strategies, section.attacks_per_prompt, decoding]


def _benchmarks(config: Config) -> object:
    """Benchmarks depend on what their files hold, not on where these lie."""
    every = config.evaluation.benchmarks
    hashes = [[artifacts.file_hash(file) for file in benchmarks.files_of(one)] for one in every]
    return [[one.model_dump(mode="json", exclude={"path"}) for one in every], hashes, config.evaluation.max_tokens]


def _asking(config: Config) -> object:
    """How benchmarks are asked, and who judges where one is judged."""
    section = config.evaluation
    is_judged = any(one.kind in JUDGED_KINDS for one in section.benchmarks)
    judge = [section.judge or _judge(config), harm_cuts(config)] if is_judged else None
    return [config.model, section.temperature, section.top_p, judge]


def _votes(config: Config, name: str = human_eval.VOTES) -> Path:
    """Votes come from people, whenever they do: no stage makes them, and what rests on them follows their state."""
    return Path(config.run_dir) / name


STAGES: tuple[Stage, ...] = (
    Stage(
        "benchmark_items",
        "sample",
        (),
        "benchmark_items.jsonl",
        _benchmarks,
        make_benchmark_items,
        wanted=lambda config: bool(config.evaluation.benchmarks),
    ),
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
        over="judged",
    ),
    Stage(
        "votes",
        "label",
        ("prompts.jsonl", "responses.jsonl"),
        "{arm}/labels.jsonl",
        lambda config: human_eval.digest(_votes(config, human_eval.TRAINING_VOTES)),
        make_votes,
        over="human",
    ),
    Stage(
        "red_team",
        "red-team",
        ("prompts.jsonl", "sft", "{before}/policy", "{earlier}/red_team.jsonl"),
        "{round}/red_team.jsonl",
        _red_team,
        make_red_team,
        over="hrlaif",
        wanted=lambda config: config.red_team.enabled,
        first_round=1,
    ),
    Stage(
        "pairs",
        "pairs",
        ("prompts.jsonl", "responses.jsonl", "verifications.jsonl", "{arm}/labels.jsonl", "{rounds}/red_team.jsonl"),
        "{round}/pairs.jsonl",
        _pairs,
        make_pairs,
        over="arms",
        first_round=1,
    ),
    Stage(
        "reward",
        "reward",
        ("{round}/pairs.jsonl", "sft"),
        "{round}/reward",
        lambda config: [config.model, config.reward],
        make_reward,
        extra="train",
        over="arms",
        first_round=1,
    ),
    Stage(
        "policy",
        "policy",
        ("prompts.jsonl", "{round}/reward", "sft"),
        "{round}/policy",
        lambda config: [config.model, config.policy],
        make_policy,
        extra="train",
        over="arms",
        first_round=1,
    ),
    Stage(
        "regression",
        "evaluate",
        ("prompts.jsonl", "sft", "{round}/policy"),
        "{round}/regression.jsonl",
        _regression,
        make_regression,
        extra="train",
        over="hrlaif",
        wanted=lambda config: config.red_team.enabled and config.red_team.rounds > 1,
        first_round=0,
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
    Stage(
        "benchmarks",
        "evaluate",
        ("benchmark_items.jsonl", "{arm}/policy", "sft"),
        "{arm}/benchmarks.jsonl",
        _asking,
        make_benchmarks,
        extra="train",
        over="every",
        wanted=lambda config: bool(config.evaluation.benchmarks),
    ),
    Stage(
        "ratings",
        "evaluate",
        ("answers/{every}.jsonl",),
        "ratings",
        lambda config: human_eval.digest(_votes(config)),
        make_ratings,
        wanted=lambda config: _votes(config).exists(),
    ),
    Stage(
        "metrics",
        "evaluate",
        ("evaluation.jsonl", "ratings", "{every}/policy", "{every}/benchmarks.jsonl"),
        "metrics.json",
        harm_quality,
        make_metrics,
        # Votes are counted where answers are, also after the trained models have been moved away.
        takes_what_is_there=True,
    ),
    Stage(
        "report",
        "report",
        (
            "evaluation.jsonl",
            "metrics.json",
            "calibration.json",
            "{every}/labels.jsonl",
            "{every}/pairs.jsonl",
            "{rounds}/red_team.jsonl",
            "hrlaif/round_0/regression.jsonl",
            "{rounds}/regression.jsonl",
        ),
        "report.html",
        lambda config: config.report,
        make_report,
        extra="report",
        takes_what_is_there=True,
    ),
)
