"""Several runs that differ in their seed as one result: the mean of each measure over runs and prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hrlaif.artifacts import read_records
from hrlaif.evaluation.summary import SHARES
from hrlaif.evaluation.table import MEASURES, NONE, cell
from hrlaif.metrics import DIFFERENCE, FEWEST_RUNS, SHARE, Scale, mean_over_runs
from hrlaif.types import Evaluation, Metric, Verdict

_WON = {Verdict.FIRST: 1.0, Verdict.TIE: 0.5, Verdict.SECOND: 0.0}
_WIN_RATIO = "win_ratio"
Rows = Mapping[str, Mapping[str, Evaluation]]
Means = Mapping[str, Mapping[str, tuple[Metric, Metric | None]]]
Reader = Callable[[Mapping[str, Evaluation]], float | None]


def means_of_folders(folders: Sequence[Path]) -> Means:
    """`means_of_runs` of run folders; nothing where a run has no evaluation."""
    files = [folder / "evaluation.jsonl" for folder in folders]
    if len(files) < FEWEST_RUNS or not all(file.exists() for file in files):
        return {}
    return means_of_runs([list(read_records(file, Evaluation)) for file in files])


def means_of_runs(runs: Sequence[Sequence[Evaluation]]) -> Means:
    """By measure and arm that all runs have: the mean, and the mean of arm minus start (None for the start itself).

    A measure counts the prompts that it can read in every run. Nothing where there are fewer than three runs or none of
    their prompts is the same. What differs between the runs besides the seed is for the caller to know.
    """
    by_prompt = [_by_prompt(rows) for rows in runs]
    arms = [list(dict.fromkeys(row.arm for row in rows)) for rows in runs]
    if len(runs) < FEWEST_RUNS:
        return {}
    start, *others = [arm for arm in arms[0] if all(arm in found for found in arms)] or [""]
    means: dict[str, dict[str, tuple[Metric, Metric | None]]] = {}
    for name in (*SHARES, _WIN_RATIO):
        if name not in MEASURES:
            continue
        for arm in (start, *others):
            found = _mean(by_prompt, _points(name, arm), SHARE)
            if found.value != found.value:  # NaN: not measured
                continue
            unlike = arm != start and name in SHARES
            minus = _mean(by_prompt, _difference(name, arm, start), DIFFERENCE) if unlike else None
            means.setdefault(name, {})[arm] = (found, minus)
    return means


def mean_table(means: Means, *, runs: int) -> list[list[str]]:
    """One row per measure and arm, as text, under a header."""
    header = ["Measure", "Arm", f"Mean of {runs} runs [low, high]", "Minus the start"]
    rows = [
        [MEASURES[name], arm, cell(mean), NONE if minus is None else cell(minus)]
        for name, of_arm in means.items()
        for arm, (mean, minus) in of_arm.items()
    ]
    return [header, *rows]


def _by_prompt(rows: Sequence[Evaluation]) -> Rows:
    found: dict[str, dict[str, Evaluation]] = {}
    for row in rows:
        if row.satisfied is not None:
            found.setdefault(row.prompt_id, {})[row.arm] = row
    return found


def _points(name: str, arm: str) -> Reader:
    def read(rows: Mapping[str, Evaluation]) -> float | None:
        row = rows.get(arm)
        if row is None:
            return None
        said = _WON.get(row.verdict) if name == _WIN_RATIO and row.verdict else None
        share = SHARES[name](row) if name in SHARES else None
        return said if share is None else float(share)

    return read


def _difference(name: str, arm: str, start: str) -> Reader:
    ours, starts = _points(name, arm), _points(name, start)

    def read(rows: Mapping[str, Evaluation]) -> float | None:
        one, other = ours(rows), starts(rows)
        return None if one is None or other is None else one - other

    return read


def _mean(runs: Sequence[Rows], read: Reader, scale: Scale) -> Metric:
    values = [{prompt: value for prompt, rows in run.items() if (value := read(rows)) is not None} for run in runs]
    common = [prompt for prompt in values[0] if all(prompt in of_run for of_run in values)]
    rows = [[of_run[prompt] for prompt in common] for of_run in values]
    return mean_over_runs(rows, name="mean", scale=scale, unit="share")
