import dataclasses
import json
from pathlib import Path

import pytest

from hrlaif import artifacts, pipeline
from hrlaif import config as configuration
from hrlaif.artifacts import read_manifest
from hrlaif.config import Config, parse
from hrlaif.errors import ConfigError, DataError
from hrlaif.plan import OPERATIONAL, Stage, Step, execute, plan
from hrlaif.run import Run, needs_extra, open_folder


def config_for(folder: Path, **values: object) -> Config:
    return parse({"run_dir": str(folder), **values}, where="test")


class Kitchen:
    """Three stages that write a line per input and remember what was made."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def stages(self) -> list[Stage]:
        return [
            Stage("seeds", "sample", (), "seeds.jsonl", lambda config: config.responses, self.write),
            Stage("plants", "label", ("seeds.jsonl",), "{arm}/plants.jsonl", lambda _: None, self.write, over="arms"),
            Stage(
                "pond",
                "red-team",
                ("seeds.jsonl",),
                "{arm}/pond.jsonl",
                lambda config: config.red_team,
                self.write,
                over="hrlaif",
                wanted=lambda config: config.red_team.enabled,
            ),
            Stage(
                "jam",
                "report",
                ("{every}/plants.jsonl", "{every}/pond.jsonl"),
                "jam.jsonl",
                lambda config: config.report,
                self.write,
            ),
        ]

    def write(self, run: Run, step: Step) -> None:
        self.made.append(step.title)
        content = [path.read_text() for path in step.inputs] + [str(run.config.responses.per_prompt)]
        artifacts.write_atomic(step.path, json.dumps(content).encode())
        artifacts.write_manifest(step.path, fingerprint=step.fingerprint, rows=len(content))

    def cook(self, config: Config, command: str | None = None) -> list[str]:
        """Make a run, or one command's part of it; returns what had to be made."""
        self.made = []
        steps = [step for step in plan(self.stages(), config) if command in (None, step.stage.command)]
        with Run(config) as run:
            execute(run, steps, tell=lambda _: None)
        return self.made


ALL = ["seeds", "plants (rlaif)", "plants (hrlaif)", "pond (hrlaif)", "jam"]


def test_steps_come_in_order_each_with_the_paths_of_its_arm(tmp_path: Path) -> None:
    steps = plan(Kitchen().stages(), config_for(tmp_path))
    assert [step.title for step in steps] == ALL
    assert steps[1].path == tmp_path / "rlaif/plants.jsonl"
    assert steps[1].inputs == (tmp_path / "seeds.jsonl",)
    # Nobody writes start/plants.jsonl or rlaif/pond.jsonl.
    assert [str(path.relative_to(tmp_path)) for path in steps[4].inputs] == [
        "rlaif/plants.jsonl",
        "hrlaif/plants.jsonl",
        "hrlaif/pond.jsonl",
    ]


def test_a_run_of_one_arm_or_without_red_team_has_only_its_own_steps(tmp_path: Path) -> None:
    steps = plan(Kitchen().stages(), config_for(tmp_path, arms=["rlaif"]))
    assert [step.title for step in steps] == ["seeds", "plants (rlaif)", "jam"]
    steps = plan(Kitchen().stages(), config_for(tmp_path, red_team={"enabled": False}))
    assert [step.title for step in steps] == ["seeds", "plants (rlaif)", "plants (hrlaif)", "jam"]


def test_a_step_that_runs_for_start_and_each_arm_has_one_path_each(tmp_path: Path) -> None:
    stage = Stage("a", "x", (), "answers/{arm}.jsonl", lambda _: None, lambda _run, _step: None, over="every")
    steps = plan([stage], config_for(tmp_path))
    assert [step.path.name for step in steps] == ["start.jsonl", "rlaif.jsonl", "hrlaif.jsonl"]


def test_what_is_current_is_not_made_again(tmp_path: Path) -> None:
    kitchen = Kitchen()
    assert kitchen.cook(config_for(tmp_path)) == ALL
    assert kitchen.cook(config_for(tmp_path)) == []


def test_a_changed_setting_makes_its_step_and_what_depends_on_it(tmp_path: Path) -> None:
    kitchen = Kitchen()
    kitchen.cook(config_for(tmp_path))
    assert kitchen.cook(config_for(tmp_path, red_team={"max_rewrites": 5})) == ["pond (hrlaif)"]
    # The pond's content did not change, so the jam is still good. New seeds change everything.
    assert kitchen.cook(config_for(tmp_path, red_team={"max_rewrites": 5}, responses={"per_prompt": 9})) == ALL
    assert kitchen.cook(config_for(tmp_path, red_team={"max_rewrites": 5}, responses={"per_prompt": 9}, seed=1)) == ALL


def test_how_calls_are_made_makes_nothing_stale(tmp_path: Path) -> None:
    kitchen = Kitchen()

    def with_endpoint(**options: object) -> Config:
        endpoint = {"url": "http://a/v1", "model": "m", **options}
        return config_for(tmp_path, responses={"endpoint": endpoint})

    kitchen.cook(with_endpoint())
    assert kitchen.cook(with_endpoint(url="http://b/v1", in_flight=3, retries=1, timeout_s=5, key_env="K")) == []
    assert kitchen.cook(with_endpoint(model="other"))[0] == "seeds"


def test_every_operational_key_exists_in_the_configuration() -> None:
    def keys(values: object) -> set[str]:
        if isinstance(values, dict):
            return set(values) | {key for value in values.values() for key in keys(value)}
        return {key for value in values for key in keys(value)} if isinstance(values, list) else set()

    endpoint = {"url": "http://a/v1", "model": "m"}
    config = parse({"judge": {**endpoint, "replicas": [endpoint]}, "evaluation": {"judge": endpoint}}, where="test")
    assert keys(config.model_dump(mode="json")) >= OPERATIONAL


def test_a_file_that_was_tampered_with_is_seen_by_what_depends_on_it(tmp_path: Path) -> None:
    kitchen = Kitchen()
    kitchen.cook(config_for(tmp_path))
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text("[]")
    assert kitchen.cook(config_for(tmp_path)) == ["plants (rlaif)", "plants (hrlaif)", "pond (hrlaif)", "jam"]


def test_a_folder_depends_on_its_manifest(tmp_path: Path) -> None:
    made: list[str] = []

    def train(run: Run, step: Step) -> None:
        with artifacts.folder_artifact(step.path, fingerprint=step.fingerprint) as out:
            (out / "weights").write_text("w")

    def use(run: Run, step: Step) -> None:
        made.append(step.title)
        artifacts.write_records(step.path, [], fingerprint=step.fingerprint)

    stages = [
        Stage("reward", "reward", (), "reward", lambda config: config.reward, train),
        Stage("scores", "x", ("reward",), "scores.jsonl", lambda _: None, use),
    ]

    def go(config: Config) -> None:
        with Run(config) as run:
            execute(run, plan(stages, config), tell=lambda _: None)

    go(config_for(tmp_path))
    go(config_for(tmp_path))
    assert made == ["scores"]
    go(config_for(tmp_path, reward={"epochs": 2}))
    assert made == ["scores", "scores"]


def test_one_command_makes_its_own_steps_and_says_what_is_missing(tmp_path: Path) -> None:
    kitchen = Kitchen()
    with pytest.raises(DataError, match=r"seeds\.jsonl: not there yet\. `hrlaif run` makes it"):
        kitchen.cook(config_for(tmp_path), "label")
    assert kitchen.cook(config_for(tmp_path), "sample") == ["seeds"]
    assert kitchen.cook(config_for(tmp_path), "label") == ["plants (rlaif)", "plants (hrlaif)"]


def test_each_step_is_told_and_logged(tmp_path: Path) -> None:
    told: list[str] = []
    config = config_for(tmp_path, arms=["rlaif"])
    for _ in range(2):
        with Run(config) as run:
            execute(run, plan(Kitchen().stages(), config), tell=told.append)
    assert [line.split(",")[0] for line in told[:3]] == [
        "seeds: 1 records",
        "plants (rlaif): 2 records",
        "jam: 2 records",
    ]
    assert told[3:] == ["seeds: up to date", "plants (rlaif): up to date", "jam: up to date"]
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(event["event"], event["stage"], event["arm"]) for event in events[:4]] == [
        ("start", "seeds", None),
        ("done", "seeds", None),
        ("start", "plants", "rlaif"),
        ("done", "plants", "rlaif"),
    ]
    assert len(events) == 6


# --- the real stages ------------------------------------------------------------------------------------------------


def everything(folder: Path) -> list[Step]:
    return plan(pipeline.STAGES, config_for(folder))


def test_every_input_is_written_by_an_earlier_step_and_no_path_twice(tmp_path: Path) -> None:
    done: set[Path] = set()
    for step in everything(tmp_path):
        assert set(step.inputs) <= done, step.title
        assert step.path not in done
        done.add(step.path)


def test_every_stage_belongs_to_a_command(tmp_path: Path) -> None:
    from hrlaif.cli import STAGE_COMMANDS

    assert {stage.command for stage in pipeline.STAGES} == set(STAGE_COMMANDS)


def test_every_stage_that_uses_the_policy_waits_for_its_fine_tuning(tmp_path: Path) -> None:
    config = parse({"run_dir": str(tmp_path), "sft": {"sources": [{"path": "x.jsonl"}]}}, where="test")
    steps = plan(pipeline.STAGES, config)
    assert steps[0].path == tmp_path / "sft"
    assert {step.stage.name for step in steps if tmp_path / "sft" in step.inputs} == {
        "responses",
        "red_team",
        "reward",
        "policy",
        "answers",
    }
    assert "sft" not in {step.stage.name for step in everything(tmp_path)}


COMPARED = {"calibration", "labels", "evaluation"}


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        (
            {"judge": {"url": "http://a/v1", "model": "m"}},
            {"calibration", "verifications", "labels", "red_team", "evaluation"},
        ),
        ({"evaluation": {"judge": {"url": "http://a/v1", "model": "m"}}}, {"evaluation"}),
        ({"evaluation": {"max_tokens": 7}}, {"answers"}),
        ({"responses": {"per_prompt": 7}}, {"responses"}),
        ({"responses": {"endpoint": {"url": "http://a/v1", "model": "m"}}}, {"responses", "red_team"}),
        ({"labels": {"tie_margin": 0.2}}, {"calibration", "verifications", "labels", "evaluation"}),
        ({"pairs": {"min_probability": 0.8}}, {"pairs"}),
        ({"reward": {"epochs": 9}}, {"reward"}),
        ({"policy": {"steps": 9}}, {"policy"}),
        ({"report": {"cases": 3}}, {"report"}),
        ({"judge": {"panel": [{}, {"prompt": "correctness"}]}}, COMPARED),
        ({"judge": {"reply": "json"}}, COMPARED),
        ({"judge": {"reply_max_tokens": 900}}, {*COMPARED, "verifications", "red_team"}),
        ({"evaluation": {"judge": {"url": "http://a/v1", "model": "m", "reply": "json"}}}, {"evaluation"}),
        ({"judge": {"gate": False}, "policy": {"checkpoint_every": 3}, "threads": 1}, set()),
    ],
)
def test_a_setting_reaches_the_stages_whose_result_it_changes(
    tmp_path: Path, change: dict[str, object], stale: set[str]
) -> None:
    before, after = fingerprints(config_for(tmp_path)), fingerprints(config_for(tmp_path, **change))
    assert {name for name in before if before[name] != after[name]} == stale


@pytest.mark.parametrize(
    ("kind", "change", "stale"),
    [
        ("gsm8k", {"judge": {"url": "http://a/v1", "model": "m"}}, set()),
        ("xstest", {"judge": {"url": "http://a/v1", "model": "m"}}, {"benchmarks"}),
        ("gsm8k", {"temperature": 0.5}, {"benchmarks"}),
        ("gsm8k", {"max_tokens": 7}, {"benchmark_items"}),
    ],
)
def test_benchmarks_depend_on_the_judge_only_where_it_scores_them(
    tmp_path: Path, kind: str, change: dict[str, object], stale: set[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text("{}")
    section = {"benchmarks": [{"name": "b", "kind": kind, "path": str(tmp_path / "rows.jsonl")}]}
    before, after = (fingerprints(config_for(tmp_path, evaluation={**section, **changed})) for changed in ({}, change))
    assert {name for name in before if before[name] != after[name] and "benchmark" in name} == stale


def test_another_further_model_makes_its_own_answers_stale_and_nothing_else(tmp_path: Path) -> None:
    def with_other(path: str) -> dict[str, str]:
        models = [{"name": "other", "path": path}, {"name": "same", "path": "a/b"}]
        return fingerprints(config_for(tmp_path, evaluation={"models": models}), by="title")

    before, after = with_other("a/b"), with_other("a/c")
    assert {title for title in before if before[title] != after[title]} == {"answers (other)"}


def fingerprints(config: Config, *, by: str = "name") -> dict[str, str]:
    """What each stage's own settings make of its fingerprint."""
    found: dict[str, str] = {}

    def note(run: Run, step: Step) -> None:
        found[step.title if by == "title" else step.stage.name] = step.fingerprint

    # Stages without inputs: what is left of a fingerprint is the stage's own settings.
    stages = [dataclasses.replace(stage, reads=(), make=note) for stage in pipeline.STAGES]
    with Run(config) as run:
        execute(run, plan(stages, config), tell=lambda _: None)
    return found


MEMBER = {"url": "http://a/v1", "model": "m", "prompt": "mine", "template": "$request $first $second"}


@pytest.mark.parametrize(
    ("member", "is_stale"),
    [
        ({"weight": 2.0}, True),
        ({"model": "other"}, True),
        ({"reply": "json"}, True),
        ({"reply_max_tokens": 900}, True),
        ({"prompt": "renamed"}, True),
        ({"template": "$request, $first, $second"}, True),
        ({"url": "http://b/v1", "key_env": "K", "in_flight": 3, "timeout_s": 5, "requests_per_minute": 9}, False),
        ({"usd_per_million_prompt_tokens": 1.0}, False),
    ],
)
def test_labels_depend_on_who_votes_and_how_and_not_on_where(
    tmp_path: Path, member: dict[str, object], is_stale: bool
) -> None:
    before, after = (
        fingerprints(config_for(tmp_path, judge={"panel": [{}, {**MEMBER, **change}]})) for change in ({}, member)
    )
    assert {name for name in before if before[name] != after[name]} == (COMPARED if is_stale else set())


def test_a_template_file_that_changed_makes_labels_stale_and_one_that_moved_does_not(tmp_path: Path) -> None:
    def written(place: str, text: str) -> dict[str, str]:
        folder = tmp_path / place
        folder.mkdir(exist_ok=True)
        (folder / "mine.txt").write_text(text)
        (folder / "c.toml").write_text('run_dir = "run"\n[[judge.panel]]\nprompt = "mine.txt"')
        return fingerprints(configuration.load(folder / "c.toml"))

    first = written("one", "$request $first $second")
    assert written("two", "$request $first $second") == first
    assert written("one", "$request $first $second.")["labels"] != first["labels"]


# --- run folders ----------------------------------------------------------------------------------------------------


def test_a_run_folder_remembers_its_configuration_wherever_it_is_moved(tmp_path: Path) -> None:
    config = config_for(tmp_path / "one", seed=5)
    with Run(config):
        pass
    (tmp_path / "one").rename(tmp_path / "two")
    assert open_folder(tmp_path / "two").config == config.model_copy(
        update={"run_dir": str(tmp_path / "two"), "name": "run"}
    )


def test_a_folder_without_a_configuration_is_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not a run folder \(no config\.toml\)"):
        open_folder(tmp_path)


def test_two_processes_cannot_open_one_run_and_the_lock_goes_with_its_holder(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    with Run(config), pytest.raises(ConfigError, match="another hrlaif process works in this run folder"), Run(config):
        pass
    with Run(config):
        pass


def test_the_configuration_in_the_folder_is_the_one_that_was_used_last(tmp_path: Path) -> None:
    for steps in (3, 4):
        with Run(config_for(tmp_path, policy={"steps": steps})):
            pass
    assert configuration.load(tmp_path / "config.toml").policy.steps == 4


def test_a_missing_package_is_named_with_the_extra_that_brings_it() -> None:
    def missing() -> None:
        with needs_extra("train"):
            import no_such_package  # type: ignore[import-not-found]  # noqa: F401

    with pytest.raises(ConfigError, match=r"this needs 'no_such_package': pip install 'hrlaif\[train\]'"):
        missing()


def test_a_manifest_with_rows_is_what_the_next_step_counts_on(tmp_path: Path) -> None:
    Kitchen().cook(config_for(tmp_path))
    manifest = read_manifest(tmp_path / "jam.jsonl")
    assert manifest is not None
    assert manifest["rows"] == 4
