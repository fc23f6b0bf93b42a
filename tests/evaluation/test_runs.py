from __future__ import annotations

from pathlib import Path

from hrlaif.artifacts import write_records
from hrlaif.evaluation import mean_table, means_of_folders, means_of_runs
from hrlaif.types import Evaluation, Finish, Response, Satisfaction, Task, Verdict

YES, NO, UNREADABLE = Satisfaction.YES, Satisfaction.NO, Satisfaction.UNREADABLE


def row(arm: str, prompt: str, satisfied: Satisfaction | None, verdict: Verdict | None = None) -> Evaluation:
    response = Response(f"{prompt}/0", prompt, "text", arm, 0, Finish.STOP)
    return Evaluation(arm, prompt, "open", Task.OPEN, response, 1, 4, satisfied, "", verdict=verdict)


def run(*satisfied: Satisfaction, verdict: Verdict = Verdict.FIRST) -> list[Evaluation]:
    """The start satisfies nobody; the arm as given, on prompts a, b, ..."""
    names = "abcdef"[: len(satisfied)]
    starts = [row("start", name, NO) for name in names]
    return [*starts, *(row("rlaif", name, one, verdict) for name, one in zip(names, satisfied, strict=True))]


def test_the_mean_over_runs_and_prompts_stands_beside_its_difference_from_the_start() -> None:
    tied = run(YES, NO, YES, YES, verdict=Verdict.TIE)
    means = means_of_runs([run(YES, YES, YES, YES), run(YES, YES, NO, NO), tied])
    header, *table = mean_table(means, runs=3)
    assert header[2] == "Mean of 3 runs [low, high]"
    found = {(measure, arm): (mean, minus) for measure, arm, mean, minus in table}
    # 9 of 12; the start 0 of 12; the win ratio (1 + 1 + 1/2) / 3.
    mean, minus = found["Satisfaction, %", "rlaif"]
    assert (mean.split(" [")[0], mean.split("] ")[1]) == ("75.0", "n 4")
    assert minus.startswith("75.0 [")
    assert found["Satisfaction, %", "start"][0].startswith("0.0 [0.0, ")
    assert found["Win ratio against the start, %", "rlaif"][0].startswith("83.3 [")
    assert ("Win ratio against the start, %", "start") not in found


def test_only_prompts_that_every_run_could_read_are_counted() -> None:
    runs = [run(YES, UNREADABLE, YES), run(YES, YES, YES), run(YES, YES, YES, YES)]
    assert means_of_runs(runs)["satisfaction"]["rlaif"][0].n == 2


def test_two_runs_have_no_mean_and_neither_have_runs_on_other_prompts() -> None:
    assert means_of_runs([run(YES, YES), run(YES, NO)]) == {}
    apart = [[row("start", f"{name}{n}", NO) for n in range(3)] for name in "abc"]
    assert means_of_runs(apart) == {}


def test_folders_have_a_mean_where_all_of_them_are_evaluated(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders[:2]:
        write_records(folder / "evaluation.jsonl", run(YES, NO), fingerprint="e")
    assert means_of_folders(folders) == {}
    write_records(folders[2] / "evaluation.jsonl", run(YES, YES), fingerprint="e")
    assert means_of_folders(folders) == means_of_runs([run(YES, NO), run(YES, NO), run(YES, YES)])
