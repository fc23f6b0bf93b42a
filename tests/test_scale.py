"""The stages that make calls, on a Ray cluster: the files of one process, whatever dies on the way."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import flow_script
from hrlaif import config as configuration
from hrlaif import pipeline
from hrlaif.artifacts import read_manifest
from hrlaif.config import Config, EndpointSection, JudgeSection, RaySection
from hrlaif.errors import BudgetError, ConfigError, ModelError
from hrlaif.evaluation import evaluate
from hrlaif.models.flow import spread, spreading
from hrlaif.models.http import HttpModel
from hrlaif.models.scripted import ScriptedServer
from hrlaif.plan import execute, plan
from hrlaif.prompts import load
from hrlaif.run import Run
from hrlaif.types import Finish, Prompt, Response, Split

pytest.importorskip("ray", reason="needs the scale extra: pip install 'hrlaif[scale]'")
pytest.importorskip("psycopg", reason="needs the scale extra: pip install 'hrlaif[scale]'")

from hrlaif.models.ray_engine import RayEngine
from hrlaif.models.shared_ledger import SharedLedger

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "bench" / "scale.py"
MADE = ("responses", "verifications", "labels", "red_team")
CONFIG = """
name = "run"
seed = 3
[judge]
url = "{url}"
model = "scripted"
gate = false
calibration_pairs = 8
[prompts]
train = 54
evaluation = 18
[responses]
per_prompt = 3
endpoint = {{ url = "{url}", model = "policy" }}
[labels]
pairs_per_prompt = 2
[red_team]
adaptive = ["refine", "escalate"]
max_rewrites = 1
max_unjudged = 1.0
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[RayEngine]:
    with RayEngine(RaySection(workers=2, shard=4)) as running:
        yield running


def made(config: Config) -> dict[str, bytes]:
    """The files of all stages up to the red team."""
    with Run(config) as run:
        steps = plan(pipeline.STAGES, config)
        last = max(place for place, step in enumerate(steps) if step.stage.name in MADE)
        execute(run, [step for step in steps[: last + 1] if step.stage.extra != "train"], tell=lambda line: None)
    return {str(step.path.relative_to(run.folder)): step.path.read_bytes() for step in steps if step.stage.name in MADE}


def test_every_stage_writes_the_same_bytes_as_in_one_process(tmp_path: Path, postgres: Any) -> None:
    with ScriptedServer(flow_script.answer) as server:
        (tmp_path / "run.toml").write_text(CONFIG.format(url=server.url))
        alone = made(configuration.load(tmp_path / "run.toml", ["run_dir=alone"]))
        calls = server.calls
        on_ray = ["run_dir=together", "engine=ray", f"ledger={postgres.database()}", "ray.shard=4"]
        together = made(configuration.load(tmp_path / "run.toml", on_ray))
        assert server.calls == 2 * calls
    assert together == alone
    assert len(alone) == 5
    assert all(alone.values())


def test_an_evaluation_on_ray_writes_the_same_bytes(tmp_path: Path, engine: RayEngine, postgres: Any) -> None:
    prompts = [one for one in load(Config().prompts, seed=0) if one.split is Split.EVALUATION][:16]
    answers = {
        arm: {one.id: said(arm, one, number) for number, one in enumerate(prompts)} for arm in ("start", "rlaif")
    }
    with ScriptedServer(flow_script.answer) as server, SharedLedger(postgres.database()) as ledger:
        judge = HttpModel(EndpointSection(url=server.url, model="judge"), ledger=ledger)
        options: dict[str, Any] = {"judge": judge, "scorers": {}, "tie_margin": 0.05, "fingerprint": "f"}
        with spreading(engine):
            evaluate(prompts, answers, path=tmp_path / "together.jsonl", **options)
        calls = server.calls
        evaluate(prompts, answers, path=tmp_path / "alone.jsonl", **options)
        assert server.calls == calls > 0
    assert (tmp_path / "together.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()
    assert read_manifest(tmp_path / "together.jsonl") == read_manifest(tmp_path / "alone.jsonl")


def said(arm: str, prompt: Prompt, number: int) -> Response:
    return Response(f"{arm}/{prompt.id}", prompt.id, f"Number {number}, says {arm}.", arm, 0, Finish.STOP)


async def results(items: Iterator[Any] | range, work: Any, window: int = 16) -> list[Any]:
    found: AsyncIterator[Any] = spread(items, work, window=window)
    return [result async for result in found]


def test_results_come_in_the_order_of_the_items_from_all_workers(engine: RayEngine) -> None:
    async def work(item: int) -> tuple[int, int]:
        await asyncio.sleep(0.001 * (item % 7))
        return item, os.getpid()

    with spreading(engine):
        found = asyncio.run(results(range(200), work))
    assert [item for item, _ in found] == list(range(200))
    assert len({process for _, process in found} - {os.getpid()}) == 2


def test_a_worker_that_dies_costs_nothing_but_its_own_work(engine: RayEngine, tmp_path: Path) -> None:
    async def work(item: int) -> int:
        with (tmp_path / str(item)).open("a") as file:
            file.write("x")
        if item == 50 and (tmp_path / "50").stat().st_size == 1:
            os._exit(1)
        return item

    with spreading(engine):
        assert asyncio.run(results(range(100), work)) == list(range(100))


def test_records_that_end_every_worker_end_the_run_with_a_message(
    engine: RayEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hrlaif.models.ray_engine.MOST_TRIES", 2)

    async def work(item: int) -> None:
        os._exit(1)

    with spreading(engine), pytest.raises(ModelError, match="2 Ray workers in a row died with the same 1 records"):
        asyncio.run(results(range(1), work))


def test_an_error_in_a_worker_is_the_one_that_the_stage_raises(engine: RayEngine) -> None:
    async def work(item: int) -> None:
        raise BudgetError("spent")

    with spreading(engine), pytest.raises(BudgetError, match=r"^spent$"):
        asyncio.run(results(range(10), work))


def len_of() -> Any:
    """Work that a worker loads without this file."""

    async def work(item: int) -> int:
        return len(str(item))

    return work


def test_a_model_travels_without_its_key(engine: RayEngine, postgres: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray import cloudpickle

    monkeypatch.setenv("HRLAIF_JUDGE_KEY", "very-secret-key")
    with spreading(engine):
        asyncio.run(results(range(1), len_of()))
    with SharedLedger(postgres.database()) as ledger:
        model = HttpModel(JudgeSection(url="http://127.0.0.1:1/v1", model="m"), ledger=ledger)
        assert b"secret" not in cloudpickle.dumps(model)
        with pytest.raises(ConfigError, match="needs a ledger that all workers reach"):
            cloudpickle.dumps(HttpModel(EndpointSection(url="http://127.0.0.1:1/v1", model="m"), ledger=None))


def test_a_key_that_a_worker_lacks_is_named(engine: RayEngine, postgres: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with spreading(engine):
        asyncio.run(results(range(1), len_of()))  # the workers are there, without what comes now
    monkeypatch.setenv("KEY_OF_THE_DRIVER", "very-secret-key")
    section = EndpointSection(url="http://127.0.0.1:1/v1", model="m", key_env="KEY_OF_THE_DRIVER")
    with SharedLedger(postgres.database()) as ledger, spreading(engine):
        model = HttpModel(section, ledger=ledger)

        async def work(item: int) -> str:
            return model.name

        with pytest.raises(ConfigError, match="KEY_OF_THE_DRIVER is not set"):
            asyncio.run(results(range(1), work))


def test_no_cluster_at_an_address_is_one_message() -> None:
    script = (
        "import asyncio\n"
        "from hrlaif.config import RaySection\n"
        "from hrlaif.errors import ModelError\n"
        "from hrlaif.models.ray_engine import RayEngine\n"
        "async def main():\n"
        "    async for _ in RayEngine(RaySection(address='127.0.0.1:1')).spread([1], None, window=1): pass\n"
        "try: asyncio.run(main())\n"
        "except ModelError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert "ray.address '127.0.0.1:1': no Ray cluster there" in done.stdout, done.stderr


def test_kills_of_worker_database_raylet_and_driver_lose_and_double_nothing(postgres: Any, tmp_path: Path) -> None:
    found = tmp_path / "claims.json"
    command = [sys.executable, str(BENCH), "--quick", "--parts", "kill", "--json", str(found)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    claims = json.loads(found.read_text())["claims"]
    assert {one["met"] for one in claims} <= {True, None}, done.stdout
    assert sum(one["met"] is True for one in claims) == 3
