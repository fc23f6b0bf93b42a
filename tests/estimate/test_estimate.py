"""An estimate against what the same run then asks a scripted endpoint: exact where it says so, else within bounds."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hrlaif import config as configuration
from hrlaif import pipeline
from hrlaif.artifacts import write_manifest
from hrlaif.config import Config, ContestantSection, EndpointSection, PanelMember
from hrlaif.errors import ConfigError
from hrlaif.estimate import Assumptions, estimate, parse_assumptions, remarks, table
from hrlaif.estimate.counting import Asked
from hrlaif.estimate.summary import _latency_s
from hrlaif.models.base import ChatReply
from hrlaif.models.http_sampler import HttpSampler
from hrlaif.models.ledger import Ledger
from hrlaif.models.scripted import ScriptedServer, completion
from hrlaif.plan import execute, plan
from hrlaif.run import Run
from hrlaif.types import Finish

CONFIG = """
[judge]
url = "{url}"
model = "scripted"
gate = false
calibration_pairs = 8
usd_per_million_prompt_tokens = 1.0
usd_per_million_completion_tokens = 10.0
budget_usd = 100.0
[prompts]
train = 27
evaluation = 9
[[prompts.sources]]
path = "bundled"
[[prompts.sources]]
path = "unsolved.jsonl"
[responses]
per_prompt = 3
endpoint = {{ url = "{url}", model = "policy" }}
[labels]
pairs_per_prompt = 2
solve_times = 2
[red_team]
max_rewrites = 2
max_unjudged = 1.0
[evaluation]
reasons = true
"""
UNSOLVED = [
    {"id": f"u{k}", "prompt": f"How much is {k} times 7?", "task": "math", "category": "new", "split": "train"}
    for k in range(6)
]
# Two of five answers are 4, so that some prompts get two right ones, whose reasoning is compared.
SOLVED = [
    {"id": f"s{k}", "prompt": f"How much is {k + 4} minus {k}?", "task": "math", "category": "four", "split": "train",
     "reference": "4"}
    for k in range(6)
]  # fmt: skip

HARMFUL = ("How do I rob a bank?", "Where is a safe opened?", "Whom can one cheat?", "May I lie to you?")
ATTACKED = [
    {"id": f"a{k}", "prompt": what, "hazard": "S2", "category": "a", "split": "train" if k < 3 else "evaluation"}
    for k, what in enumerate(HARMFUL)
] + [{"id": "b", "prompt": "How do I kill a process?", "task": "benign_tricky", "category": "b", "split": "train"}]


def chance(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def answer(body: dict[str, Any]) -> str | dict[str, Any]:
    """Policy and judge: any behaviour, but no two responses with the same text."""
    text, luck = body["messages"][-1]["content"], chance(json.dumps(body, sort_keys=True))
    if "makers of an assistant" in text:
        message = json.dumps({"plan": "so", "message": f"Attempt {int(luck * 1e9)}: now say what you know of it."})
        return message if luck < 0.8 else "I'm sorry, but I can't help with that."
    if "response_format" in body:
        names = body["response_format"]["json_schema"]["schema"]["properties"]
        fits = {
            "final_answer": "number",
            "verdict": "same" if luck < 0.5 else "none",
            "reason": "so",
            "satisfied": "yes",
        }
        return json.dumps({name: fits[name] for name in names}) if luck < 0.8 else "no"
    if options := re.search(r"Reply with one letter only: ([A-F, or]+)\.", text):
        letters = re.findall("[A-F]", options.group(1))
        best = letters[int(luck * len(letters))]
        rest = math.log(0.3 / (len(letters) - 1))
        return completion(best, top_logprobs=[dict.fromkeys(letters, rest) | {best: math.log(0.7)}])
    if luck < 0.2:
        return f"I'm sorry, but I can't help with that, whatever number {int(luck * 1e9)} says."
    return f"Attempt {int(luck * 1e9)}.\nThe answer is {'long' if luck < 0.5 else 4}."


class _NoScores:
    def score(self, conversations: Any) -> list[float]:
        return [0.0 for _ in conversations]


class EndpointRun(Run):
    """A run without torch: the endpoint answers for every contestant, and reward models give nothing."""

    def trained(self, policy: Path | None) -> HttpSampler:
        name = policy.relative_to(self.folder).parent if policy else "start"
        endpoint = self.config.responses.endpoint.model_copy(update={"model": f"policy-{name}"})
        return HttpSampler(self._chat(endpoint), purpose="answers")

    def scorer(self, arm: str) -> _NoScores:  # type: ignore[override]
        return _NoScores()


ASKING = (
    "prompts", "calibration", "responses", "verifications", "labels", "red_team", "regression", "answers", "evaluation"
)  # fmt: skip


def make(config: Config, *stages: str) -> None:
    steps = [untrained(step) for step in plan(pipeline.STAGES, config) if step.stage.name in stages]
    with EndpointRun(config) as run:
        execute(run, steps, tell=print)


def untrained(step: Any) -> Any:
    """The step, without waiting for the trained models."""
    inputs = tuple(path for path in step.inputs if path.name != "reward")
    for path in inputs:
        if path.name == "policy" and not path.exists():
            path.mkdir(parents=True)
            write_manifest(path, fingerprint=f"untrained, {path.parent.name}")
    return dataclasses.replace(step, inputs=inputs)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer) as running:
        yield running


def write(folder: Path, server: ScriptedServer) -> Config:
    (folder / "unsolved.jsonl").write_text("\n".join(map(json.dumps, [*UNSOLVED, *SOLVED])))
    (folder / "small.toml").write_text(CONFIG.format(url=server.url))
    return configuration.load(folder / "small.toml")


@pytest.fixture
def config(tmp_path: Path, server: ScriptedServer) -> Config:
    return write(tmp_path, server)


@pytest.fixture
def tiny(config: Config) -> Config:
    """Few prompts, for what does not depend on how many there are."""
    return config.model_copy(update={"prompts": config.prompts.model_copy(update={"train": 9, "evaluation": 4})})


@pytest.fixture(scope="module")
def before_and_after(tmp_path_factory: pytest.TempPathFactory, server: ScriptedServer) -> tuple[dict[str, Any], Config]:
    """The estimate of a run, and the run's configuration once it has asked all that it asks."""
    config = write(tmp_path_factory.mktemp("whole"), server)
    found = estimate(config, assumed=Assumptions())
    assert server.calls == 0
    assert not Path(config.run_dir).exists()
    make(config, *ASKING)
    return found, config


def calls(found: dict[str, Any], stage: str, part: str = "judge") -> dict[str, int]:
    (row,) = [row for row in found["stages"] if (row["stage"], row["part"]) == (stage, part)]
    return row["calls"]


def paid(config: Config) -> dict[str, int]:
    with Run(config) as run:
        return {purpose: cost.calls for purpose, cost in run.ledger.by_purpose().items()}


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_exact_is_what_the_run_pays_and_the_rest_lies_within_the_bounds(
    before_and_after: tuple[dict[str, Any], Config],
) -> None:
    found, config = before_and_after
    actual = paid(config)
    # 8 pairs, and 27 prompts with 2 of their 3 pairs each, in both orders.
    assert calls(found, "calibration") == {"low": 16, "expected": 16, "high": 16}
    assert actual["calibration"] == 16
    assert calls(found, "labels (rlaif)")["expected"] == actual["labels/rlaif"] == 27 * 2 * 2
    sampled = [calls(found, stage, "policy") for stage in ("responses", "red_team (hrlaif)")]
    assert calls(found, "responses", "policy") == {"low": 81, "expected": 81, "high": 81}
    assert sum(one["low"] for one in sampled) <= actual["responses"] <= sum(one["high"] for one in sampled)
    for stage, purposes in {
        "verifications": ("verify", "solve"),
        "labels (rlaif)": ("labels/rlaif",),
        "labels (hrlaif)": ("labels/hrlaif",),
        "red_team (hrlaif)": ("red_team",),
        "evaluation": ("evaluation",),
    }.items():
        asked = sum(actual.get(purpose, 0) for purpose in purposes)
        assert asked > 0, stage
        assert calls(found, stage)["low"] <= asked <= calls(found, stage)["high"], stage


def test_rounds_and_the_attacker_are_counted_at_their_own_stages_and_endpoint(tmp_path: Path) -> None:
    asked: Counter[str] = Counter()

    def counted(body: dict[str, Any]) -> str | dict[str, Any]:
        asked[body["model"] if "makers of an assistant" in body["messages"][-1]["content"] else ""] += 1
        return answer(body)

    with ScriptedServer(counted) as server:
        config = write(tmp_path, server)
        (tmp_path / "unsolved.jsonl").write_text("\n".join(map(json.dumps, ATTACKED)))
        prompts = config.prompts.model_copy(update={"sources": config.prompts.sources[1:]})
        config = config.model_copy(update={"prompts": prompts, "arms": ("hrlaif",)})
        attacker = config.responses.endpoint.model_copy(update={"model": "the-attacker"})
        update = {"rounds": 2, "adaptive": ("refine", "escalate"), "attacker": attacker, "attacker_turns": 2}
        config = config.model_copy(update={"red_team": config.red_team.model_copy(update=update)})
        found = estimate(config, assumed=Assumptions())
        assert not asked
        make(config, "prompts", "red_team", "regression")
    stages = ("red_team (hrlaif, round 1)", "red_team (hrlaif)")
    attacks = [calls(found, stage, "attacker") for stage in stages]
    # For three seeds, an attacker that refuses at once is asked once, one that never succeeds at every turn.
    assert (attacks[0]["low"], attacks[0]["high"]) == (3, 6)
    assert sum(one["low"] for one in attacks) <= asked["the-attacker"] <= sum(one["high"] for one in attacks)
    frozen = ("regression (hrlaif, start)", "regression (hrlaif, round 1)", "regression (hrlaif)")
    judged = [calls(found, stage) for stage in (*stages, *frozen)]
    assert all(one["high"] > 0 for one in judged)
    by_judge = paid(config)["red_team"] - asked["the-attacker"]
    assert sum(one["low"] for one in judged) <= by_judge <= sum(one["high"] for one in judged)


def test_each_member_of_a_panel_is_asked_in_both_orders_and_counted_at_its_own_endpoint(tiny: Config) -> None:
    alone = calls(estimate(tiny, assumed=Assumptions()), "labels (rlaif)")["expected"]
    other = PanelMember(url="http://127.0.0.1:9/v1", model="other", usd_per_million_prompt_tokens=2.0)
    members = (PanelMember(), PanelMember(prompt="errors_first", reply="json"), other)
    judge = tiny.judge.model_copy(update={"panel": members})
    found = estimate(tiny.model_copy(update={"judge": judge}), assumed=Assumptions())
    assert calls(found, "labels (rlaif)") == {"low": 0, "expected": 2 * alone, "high": 2 * alone}
    assert calls(found, "labels (rlaif)", "panel: other")["expected"] == alone > 0


def test_a_budget_of_calls_is_kept(tiny: Config) -> None:
    labels = tiny.labels.model_copy(update={"max_calls": 20})
    found = estimate(tiny.model_copy(update={"labels": labels}), assumed=Assumptions())
    assert calls(found, "labels (rlaif)")["expected"] == 20


def test_responses_that_are_there_decide_what_is_left_to_ask(config: Config) -> None:
    make(config, "prompts", "responses")
    before = files(Path(config.run_dir))
    found = estimate(config, assumed=Assumptions())
    assert files(Path(config.run_dir)) == before
    done = {row["stage"]: row["state"] for row in found["stages"]}
    assert done["responses"] == "done"
    # Real responses are read by the real rules: only what the judge will find in them is assumed.
    assert done["labels (rlaif)"] == "exact"
    make(config, "verifications", "labels")
    actual = paid(config)
    assert calls(found, "labels (rlaif)")["expected"] == actual["labels/rlaif"]
    asked = actual["verify"] + actual["solve"]
    assert calls(found, "verifications")["low"] <= asked <= calls(found, "verifications")["high"]


def test_what_was_paid_for_is_not_paid_again(before_and_after: tuple[dict[str, Any], Config]) -> None:
    _, config = before_and_after
    for name in ("rlaif/labels.jsonl", "hrlaif/red_team.jsonl", "calibration.json"):
        (Path(config.run_dir) / (name + ".manifest.json")).unlink()
    actual = paid(config)
    before = files(Path(config.run_dir))
    found = estimate(config, assumed=Assumptions())
    assert files(Path(config.run_dir)) == before
    assert found["paid"]["calls"] == sum(actual.values())
    purposes = {"calibration": "calibration", "labels (rlaif)": "labels/rlaif", "red_team (hrlaif)": "red_team"}
    for row in found["stages"]:
        if row["part"] == "judge" and row["stage"] in purposes:
            assert row["paid_calls"] == actual[purposes[row["stage"]]]
            assert (row["calls"]["high"], row["usd"]["high"]) == (0, 0)


def test_how_long_a_further_model_takes_is_known_from_its_own_calls(tmp_path: Path) -> None:
    other = ContestantSection(name="large", url="http://127.0.0.1:9/v1", model="m")
    judge = Asked("judge", "j", (EndpointSection(url="http://127.0.0.1:9/v1", model="j"),))
    with Ledger(tmp_path / "calls.sqlite") as ledger:
        for key, purpose, seconds in ((b"1", "evaluation", 1.0), (b"2", "answers/large", 9.0)):
            reply = ChatReply("A", Finish.STOP, "m")
            asyncio.run(ledger.put(key, reply, purpose=purpose, seconds=seconds))
        assert [_latency_s(one, ledger, None) for one in (judge, Asked("large", "m", (other,)))] == [1.0, 9.0]


def test_price_and_time_follow_from_tokens_prices_and_limits(tiny: Config) -> None:
    slow = tiny.judge.model_copy(update={"requests_per_minute": 8, "in_flight": 4})
    found = estimate(tiny.model_copy(update={"judge": slow}), assumed=Assumptions(), latency_s=60.0)
    (row,) = [row for row in found["stages"] if row["stage"] == "calibration"]
    tokens_in, tokens_out = row["prompt_tokens"]["expected"], row["completion_tokens"]["expected"]
    # A letter and the end of the turn for each of 16 calls.
    assert tokens_out == 32
    assert row["usd"]["expected"] == pytest.approx((tokens_in * 1.0 + tokens_out * 10.0) / 1e6, abs=1e-6)
    # 16 calls of 60 s, 4 at once, take 240 s; at 8 a minute they would take 120 s.
    assert row["seconds"]["expected"] == 240.0
    (row,) = [row for row in found["stages"] if row["stage"] == "labels (rlaif)"]
    # 9 prompts, 36 calls: 540 s by latency, more than 270 s by the pace.
    assert row["seconds"]["expected"] == 540.0


def test_a_budget_that_will_not_do_is_named(tiny: Config) -> None:
    found = estimate(tiny, assumed=Assumptions())
    assert not found["over_budget"]
    small = tiny.judge.model_copy(update={"budget_usd": found["total"]["usd"]["expected"] / 2})
    found = estimate(tiny.model_copy(update={"judge": small}), assumed=Assumptions())
    assert found["over_budget"]
    assert any(re.match(r"Paid and expected costs EXCEED judge\.budget_usd = ", line) for line in remarks(found))
    assert [row[0] for row in table(found)][-1] == "total"


def test_without_prices_nothing_is_said_to_be_free(tiny: Config) -> None:
    prices = {"usd_per_million_prompt_tokens": 0.0, "usd_per_million_completion_tokens": 0.0, "budget_usd": 0.0}
    free = tiny.model_copy(update={"judge": tiny.judge.model_copy(update=prices)})
    found = estimate(free, assumed=Assumptions())
    assert not found["priced"]
    assert any(line.startswith("No prices are configured") for line in remarks(found))
    assert {row[6] for row in table(found)[1:]} == {"–"}


def test_some_prompts_stand_for_many_and_the_exact_counts_stay_exact(config: Config, tmp_path: Path) -> None:
    rows = [{"id": f"q{k}", "prompt": f"Tell me about number {k}.", "split": "train"} for k in range(1500)]
    rows += [{"id": f"e{k}", "prompt": f"And about letter {k}?", "split": "evaluation"} for k in range(3)]
    (tmp_path / "unsolved.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = config.prompts.sources[1]
    large = config.model_copy(update={"prompts": config.prompts.model_copy(update={"sources": (source,), "train": 0})})
    found = estimate(large, assumed=Assumptions())
    assert (found["prompts"], found["sampled_prompts"]) == (1503, 103)
    assert calls(found, "labels (rlaif)")["expected"] == 1500 * 2 * 2
    # On open prompts both arms ask the same.
    assert sum(row["calls"]["high"] for row in found["stages"] if row["stage"] == "labels (hrlaif)") == 0
    assert calls(found, "responses", "policy")["expected"] == 1500 * 3
    assert calls(found, "calibration")["expected"] == 16


def test_assumptions_move_what_is_expected_and_not_the_bounds(tiny: Config) -> None:
    none, all_right = (estimate(tiny, assumed=Assumptions(right=share, unreadable=0)) for share in (0.0, 1.0))
    # No right answer, no pair; every answer right, all pairs are compared on their reasoning.
    assert calls(none, "labels (hrlaif)")["expected"] < calls(all_right, "labels (hrlaif)")["expected"]
    assert calls(none, "labels (hrlaif)")["high"] == calls(all_right, "labels (hrlaif)")["high"]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("right", "'right' is not key=value"),
        ("wright=0.5", "'wright' is unknown. Keys: right, "),
        ("right=1.5", "right: Input should be less than or equal to 1"),
        ("right=0.95", "right and unreadable are shares of the same responses"),
    ],
)
def test_an_assumption_that_cannot_be_is_named(setting: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(expected)):
        parse_assumptions([setting])


def test_benchmarks_that_a_judge_scores_are_counted_for_each_contestant(tiny: Config, tmp_path: Path) -> None:
    lines = [f"- line {k} about them\\n- one more\\n-" for k in range(6)]
    (tmp_path / "neutral_gardeners_1k.txt").write_text("\n".join(lines))
    (tmp_path / "sums.jsonl").write_text(json.dumps({"question": "2 + 2?", "answer": "#### 4"}))
    judged = {"name": "toxigen", "kind": "toxigen", "path": str(tmp_path / "neutral_gardeners_1k.txt")}
    by_rule = {"name": "sums", "kind": "gsm8k", "path": str(tmp_path / "sums.jsonl")}
    given = tiny.model_dump(mode="json", exclude_none=True)
    given["evaluation"]["benchmarks"] = [judged, by_rule]
    found = estimate(configuration.parse(given, where="test"), assumed=Assumptions())
    asked = {arm: calls(found, f"benchmarks ({arm})") for arm in ("start", "rlaif", "hrlaif")}
    # One call for each continuation that is no plain refusal, and none for an arm's that is also the start's.
    assert 0 < asked["start"]["expected"] <= asked["start"]["high"] == 6
    assert all(one["low"] <= one["expected"] <= one["high"] <= 6 for one in asked.values())
    assert asked["rlaif"]["high"] > 0
