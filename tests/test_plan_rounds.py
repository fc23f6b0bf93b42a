"""The steps of a run whose red team goes in rounds: where they lie, what they read, what a round more costs."""

from pathlib import Path

from hrlaif import artifacts, pipeline
from hrlaif.config import Config, parse
from hrlaif.plan import Stage, Step, execute, plan
from hrlaif.run import Run


def settings(config: Config) -> object:
    return config.red_team


def with_rounds(folder: Path, rounds: int, **values: object) -> Config:
    return parse({"run_dir": str(folder), "red_team": {"rounds": rounds}, **values}, where="test")


def where(step: Step, folder: Path) -> str:
    return str(step.path.relative_to(folder))


def test_rounds_before_the_last_have_folders_of_their_own_and_the_rest_stays_where_it_was(tmp_path: Path) -> None:
    one, two = ([where(step, tmp_path) for step in plan(pipeline.STAGES, with_rounds(tmp_path, n))] for n in (1, 2))
    assert [path for path in two if path not in one] == [
        "hrlaif/round_0/regression.jsonl",
        "hrlaif/round_1/red_team.jsonl",
        "hrlaif/round_1/pairs.jsonl",
        "hrlaif/round_1/reward",
        "hrlaif/round_1/policy",
        "hrlaif/round_1/regression.jsonl",
        "hrlaif/regression.jsonl",
    ]
    assert [path for path in two if path in one] == one
    # Without a red team, or without the arm that learns from it, there are no rounds.
    assert plan(pipeline.STAGES, with_rounds(tmp_path, 3, arms=["rlaif"])) == plan(
        pipeline.STAGES, with_rounds(tmp_path, 1, arms=["rlaif"])
    )
    without = parse({"run_dir": str(tmp_path), "red_team": {"rounds": 3, "enabled": False}}, where="test")
    assert not any("round_" in str(step.path) for step in plan(pipeline.STAGES, without))


def test_a_round_reads_the_policy_before_it_and_the_cases_of_all_rounds_so_far(tmp_path: Path) -> None:
    steps = {where(step, tmp_path): step for step in plan(pipeline.STAGES, with_rounds(tmp_path, 3))}

    def reads(path: str, *names: str) -> set[str]:
        found = {str(one.relative_to(tmp_path)) for one in steps[path].inputs}
        return {one for one in found if one.endswith(names)}

    rounds = ["hrlaif/round_1", "hrlaif/round_2", "hrlaif"]
    files = [f"{home}/red_team.jsonl" for home in rounds]
    assert [reads(path, "policy", "red_team.jsonl") for path in files] == [
        set(),
        {"hrlaif/round_1/policy", files[0]},
        {"hrlaif/round_2/policy", *files[:2]},
    ]
    for number, home in enumerate(rounds, start=1):
        assert reads(f"{home}/pairs.jsonl", "red_team.jsonl", "labels.jsonl") == {
            *files[:number],
            "hrlaif/labels.jsonl",
        }
        assert reads(f"{home}/reward", "pairs.jsonl") == {f"{home}/pairs.jsonl"}
        assert reads(f"{home}/policy", "reward") == {f"{home}/reward"}
        assert reads(f"{home}/regression.jsonl", "policy") == {f"{home}/policy"}
    assert reads("hrlaif/round_0/regression.jsonl", "policy") == set()
    assert reads("rlaif/pairs.jsonl", "red_team.jsonl") == set()
    assert reads("answers/hrlaif.jsonl", "policy") == {"hrlaif/policy"}


def test_the_red_team_command_goes_through_the_rounds_up_to_the_last_attack(tmp_path: Path) -> None:
    commands = {where(step, tmp_path): step.command for step in plan(pipeline.STAGES, with_rounds(tmp_path, 2))}
    assert {path for path, command in commands.items() if command == "red-team"} == {
        "hrlaif/round_0/regression.jsonl",
        *(f"hrlaif/round_1/{name}" for name in ("red_team.jsonl", "pairs.jsonl", "reward", "policy")),
        "hrlaif/round_1/regression.jsonl",
        "hrlaif/red_team.jsonl",
    }
    assert commands["hrlaif/policy"] == "policy"
    assert commands["hrlaif/regression.jsonl"] == "evaluate"


def test_a_round_more_takes_what_was_the_last_one_and_makes_only_what_is_new(tmp_path: Path) -> None:
    made: list[str] = []

    def train(run: Run, step: Step) -> None:
        made.append(step.title)
        with artifacts.folder_artifact(step.path, fingerprint=step.fingerprint) as out:
            (out / "weights").write_text(step.title)

    def write(run: Run, step: Step) -> None:
        made.append(step.title)
        artifacts.write_records(step.path, [len(made)], fingerprint=step.fingerprint)

    reads = ("{before}/policy", "{earlier}/cases.jsonl")
    stages = [
        Stage("cases", "red-team", reads, "{round}/cases.jsonl", settings, write, over="hrlaif", first_round=1),
        Stage("policy", "policy", ("{rounds}/cases.jsonl",), "{round}/policy", settings, train,
              over="arms", first_round=1),
    ]  # fmt: skip

    def go(rounds: int) -> list[str]:
        made.clear()
        config = with_rounds(tmp_path, rounds)
        with Run(config) as run:
            execute(run, plan(stages, config), tell=lambda _: None)
        return list(made)

    assert go(1) == ["cases (hrlaif)", "policy (rlaif)", "policy (hrlaif)"]
    assert go(3) == [
        "cases (hrlaif, round 2)",
        "policy (hrlaif, round 2)",
        "cases (hrlaif)",
        "policy (hrlaif)",
    ]
    assert (tmp_path / "hrlaif/round_1/policy/weights").read_text() == "policy (hrlaif)"
    assert go(3) == []
    # Back to two: what was round 2 is the last one now, and is where it was looked for.
    assert go(2) == []
    assert (tmp_path / "hrlaif/policy/weights").read_text() == "policy (hrlaif, round 2)"


def test_a_round_that_teaches_nothing_new_has_the_policy_of_the_one_before(tmp_path: Path) -> None:
    made: list[str] = []

    def train(run: Run, step: Step) -> None:
        made.append(step.title)
        with artifacts.folder_artifact(step.path, fingerprint=step.fingerprint) as out:
            (out / "weights").write_text(step.title)

    stages = [Stage("policy", "policy", (), "{round}/policy", settings, train, over="hrlaif", first_round=1)]
    config = with_rounds(tmp_path, 2)
    for _ in range(2):
        with Run(config) as run:
            execute(run, plan(stages, config), tell=lambda _: None)
    assert made == ["policy (hrlaif, round 1)"]
    for home in ("hrlaif/round_1", "hrlaif"):
        assert (tmp_path / home / "policy/weights").read_text() == "policy (hrlaif, round 1)"
