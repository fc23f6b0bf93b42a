"""The judges of a run, from its configuration to its labels, over real connections."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hrlaif import config as configuration
from hrlaif import pipeline
from hrlaif.artifacts import read_manifest, read_records, write_records
from hrlaif.errors import BudgetError
from hrlaif.make_report import costs
from hrlaif.models.base import Decoding, SampleRequest
from hrlaif.models.scripted import ScriptedServer, completion
from hrlaif.plan import execute, plan
from hrlaif.run import Run
from hrlaif.types import Basis, Finish, Label, Message, Prompt, Response, Task, Verdict

Script = Callable[[dict[str, Any]], "str | dict[str, Any]"]
PROMPT = Prompt("p", (Message("user", "Tell me of kiwis."),), "open", Task.OPEN)
RESPONSES = [Response(f"p/{k}", "p", text, "policy", k, Finish.STOP) for k, text in enumerate(("#kiwi", "#plum"))]


def kiwi_is_a(body: dict[str, Any]) -> bool:
    text = body["messages"][0]["content"]
    return bool(text.index("#kiwi") < text.index("#plum"))


def sure(body: dict[str, Any]) -> dict[str, Any]:
    """Letters with probabilities: P(A) 0.9 when the kiwi is A, 0.3 when the plum is: kiwi (0.9 + 0.7) / 2 = 0.8."""
    share = 0.9 if kiwi_is_a(body) else 0.3
    alternatives = {"A": math.log(share), "B": math.log(1 - share)}
    return completion("A" if share > 0.5 else "B", top_logprobs=[alternatives], prompt_tokens=100)


def reasoned(body: dict[str, Any]) -> str:
    """A reasoning model that writes an object: plum with 60 when it is B, with 80 when it is A: kiwi 0.3."""
    better, confidence = ("B", 60) if kiwi_is_a(body) else ("A", 80)
    return "<think>Hmm.</think>" + json.dumps({"reason": "riper", "better": better, "confidence": confidence})


def broken(body: dict[str, Any]) -> str:
    """Readable where the kiwi is A, and cut off in its thoughts where it is not."""
    return "A" if kiwi_is_a(body) else "<think>A"


@pytest.fixture
def servers() -> Iterator[list[ScriptedServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(ScriptedServer(script)) for script in (sure, reasoned, broken)]


CONFIG = """
run_dir = "run"
arms = ["rlaif"]
[judge]
url = "{0}"
model = "sure"
usd_per_million_prompt_tokens = 1000.0
[[judge.panel]]
weight = 2.0
[[judge.panel]]
url = "{1}"
model = "reasoned"
reply = "json"
[[judge.panel]]
url = "{2}"
model = "broken"
weight = 5.0
prompt = "mine.txt"
reply_max_tokens = 900
"""


def labelled(folder: Path, servers: list[ScriptedServer], *overrides: str) -> tuple[Label, dict[str, Any]]:
    """The label that the labels stage writes for the one pair, and what the run says it paid."""
    (folder / "mine.txt").write_text("MINE $request $first $second")
    (folder / "small.toml").write_text(CONFIG.format(*(server.url for server in servers)))
    config = configuration.load(folder / "small.toml", overrides)
    out = Path(config.run_dir)
    write_records(out / "prompts.jsonl", [PROMPT], fingerprint="p")
    write_records(out / "responses.jsonl", RESPONSES, fingerprint="r")
    write_records(out / "verifications.jsonl", [], fingerprint="v")
    steps = [step for step in plan(pipeline.STAGES, config) if step.stage.name == "labels"]
    with Run(config) as run:
        execute(run, steps, tell=lambda _: None)
        paid = costs(run, next(step for step in plan(pipeline.STAGES, config) if step.stage.name == "report"))
    (found,) = read_records(out / "rlaif" / "labels.jsonl", Label)
    return found, paid


def test_three_judges_of_which_one_breaks_give_the_weighted_label_of_the_others_and_keep_all_votes(
    tmp_path: Path, servers: list[ScriptedServer]
) -> None:
    found, _ = labelled(tmp_path, servers)
    # sure 0.8 with weight 2; reasoned: (0.4 + 1 - 0.8) / 2 = 0.3 with weight 1; broken drops out: 1.9 / 3.
    kiwi = 1.9 / 3
    assert found.p_first == pytest.approx(kiwi if found.first_id == "p/0" else 1 - kiwi)
    assert found.verdict is (Verdict.FIRST if found.first_id == "p/0" else Verdict.SECOND)
    assert found.basis is Basis.JUDGE
    votes = {(one.judge, one.first_id): (one.p_first, one.verdict, one.weight) for one in found.evidence.judgements}
    first, second = Verdict.FIRST, Verdict.SECOND
    assert votes == {
        ("sure", "p/0"): (pytest.approx(0.9), first, 2.0),
        ("sure", "p/1"): (pytest.approx(0.3), second, 2.0),
        ("reasoned (json)", "p/0"): (pytest.approx(0.4), second, 1.0),
        ("reasoned (json)", "p/1"): (pytest.approx(0.8), first, 1.0),
        ("broken (mine)", "p/0"): (1.0, first, 5.0),
        ("broken (mine)", "p/1"): (0.5, Verdict.UNREADABLE, 5.0),
    }
    replies = {one.reply for one in found.evidence.judgements}
    assert any('"reason": "riper"' in reply for reply in replies)
    assert "<think>A" in replies
    manifest = read_manifest(tmp_path / "run" / "rlaif" / "labels.jsonl")
    assert manifest is not None
    assert manifest["judge"] == "panel: sure, reasoned (json), broken (mine)"
    assert [server.calls for server in servers] == [2, 2, 2]


def test_the_members_share_one_ledger_and_one_account(tmp_path: Path, servers: list[ScriptedServer]) -> None:
    _, paid = labelled(tmp_path, servers)
    # Two calls of 100 prompt tokens at 1000 USD a million, and four that cost nothing.
    assert paid["by_purpose"]["labels/rlaif"]["calls"] == 6
    assert paid["by_purpose"]["labels/rlaif"]["usd"] == pytest.approx(0.2)
    assert (paid["labels"]["rlaif"]["calls_per_label"], paid["labels"]["rlaif"]["usd"]) == (6, pytest.approx(0.2))
    # A wider margin makes the label anew, and no call is paid again.
    again, _ = labelled(tmp_path, servers, "labels.tie_margin=0.4")
    assert again.verdict is Verdict.TIE
    assert [server.calls for server in servers] == [2, 2, 2]


def test_the_budget_of_the_judge_holds_for_the_whole_panel(tmp_path: Path, servers: list[ScriptedServer]) -> None:
    # One call of 0.1 USD spends it; nobody is asked after that, whose calls cost nothing either.
    with pytest.raises(BudgetError, match=r"judge\.budget_usd = 0\.05"):
        labelled(tmp_path, servers, "judge.budget_usd=0.05")
    assert servers[0].calls == 1
    before = [server.calls for server in servers]
    with pytest.raises(BudgetError, match=r"0\.1000 USD"):
        labelled(tmp_path, servers, "judge.budget_usd=0.05", "judge.reply_max_tokens=50")
    assert [server.calls for server in servers] == before


def test_two_members_at_one_address_are_one_model_with_one_set_of_limits(
    tmp_path: Path, servers: list[ScriptedServer]
) -> None:
    members = [{}, {"prompt": "correctness"}, {"prompt": "errors_first", "reply": "json"}, {"model": "other"}]
    judge = {"url": servers[0].url, "model": "sure", "panel": members}
    with Run(configuration.parse({"run_dir": str(tmp_path), "judge": judge}, where="test")) as run:
        models = [member.model for member in run.panel.judges]
        assert models[0] is models[1] is models[2] is run.judge
        assert models[3] is not run.judge


def test_the_evaluations_own_judge_compares_alone_and_in_its_own_form(
    tmp_path: Path, servers: list[ScriptedServer]
) -> None:
    mine = {"url": servers[1].url, "model": "reasoned", "reply": "json", "reply_max_tokens": 900}
    judge = {"url": servers[0].url, "model": "sure", "panel": [{}, {"prompt": "correctness"}]}
    for section, names in ((mine, ["reasoned (json)"]), (None, ["sure", "sure (correctness)"])):
        values = {"run_dir": str(tmp_path), "judge": judge} | ({"evaluation": {"judge": section}} if section else {})
        with Run(configuration.parse(values, where="test")) as run:
            measures, compares = run.evaluation_judge
            assert [one.name for one in compares.judges] == names
            assert measures.name == names[0].split(" ")[0]


def test_a_further_model_at_an_endpoint_answers_and_is_paid_for_once(
    tmp_path: Path,
) -> None:
    asked = [SampleRequest(Prompt("p", (Message("user", "What is 2 + 2?"),), "c", Task.MATH), "p/0", 0)]
    with ScriptedServer(lambda body: f"{body['model']} says 4") as server:
        served = {"name": "large", "url": server.url, "model": "large-1"}
        values = {"run_dir": str(tmp_path / "run"), "evaluation": {"models": [served]}}
        config = configuration.parse(values, where="test")
        for _ in range(2):
            with Run(config) as run:
                (answer,) = run.contestant("large").sample(asked, Decoding(temperature=0.0, max_tokens=8))
                assert answer.text == "large-1 says 4"
                assert run.ledger.by_purpose()["answers/large"].calls == 1
        assert server.calls == 1
