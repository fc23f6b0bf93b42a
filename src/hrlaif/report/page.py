"""The report of a run: which sections it has, and what stands above them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from hrlaif.config import Config
from hrlaif.report import attacks, benchmarks, costs, headline, judge, people, results, safety, training
from hrlaif.report.cases import cases
from hrlaif.report.data import RunData, load
from hrlaif.report.layout import Section
from hrlaif.report.monitors import monitors
from hrlaif.report.red_team import red_team
from hrlaif.report.reward_model import reward_model
from hrlaif.report.wording import tidy
from hrlaif.report.writing import Page, write_page

SHOWN = (
    "This report shows the texts of attacks and of answers that may be harmful, since --show-harmful asked for them. "
    "Do not pass it on; `hrlaif report` on this run hides them again."
)
OWN_PAIRS = ("on_verified", "on_people")
SECTIONS = (
    headline.headline,
    judge.judge,
    results.satisfaction,
    results.preference,
    people.people,
    safety.harm,
    safety.by_hazard,
    attacks.success,
    attacks.regression,
    benchmarks.benchmarks,
    monitors,
    cases,
    training.composition,
    training.labels,
    red_team,
    training.fine_tuning,
    reward_model,
    training.distributions,
    training.ppo,
    costs.cost,
    costs.settings,
)
EVALUATED = ("evaluation.jsonl",)
ROUNDS = ("hrlaif/round_*/", "hrlaif/")
# The records behind each section's numbers, as patterns in the run folder.
ROWS = {
    "headline": EVALUATED,
    "judge": ("calibration_labels.jsonl", "*/labels.jsonl", "verifications.jsonl"),
    "satisfaction": EVALUATED,
    "preference": EVALUATED,
    "people": ("ratings/labels.jsonl", "ratings/satisfaction.jsonl"),
    "harm": EVALUATED,
    "hazards": EVALUATED,
    "attacks": tuple(f"{folder}red_team.jsonl" for folder in ROUNDS),
    "regression": tuple(f"{folder}regression.jsonl" for folder in ROUNDS),
    "benchmarks": ("*/benchmarks.jsonl",),
    "monitors": (*EVALUATED, "*/policy/metrics.jsonl"),
    "cases": EVALUATED,
    "data": ("prompts.jsonl", "*/pairs.jsonl"),
    "labels": ("*/labels.jsonl",),
    "red-team": (*(f"{folder}red_team.jsonl" for folder in ROUNDS), "hrlaif/pairs.jsonl"),
    "sft": ("sft/metrics.jsonl",),
    "reward-model": ("*/pairs.jsonl", "*/reward/metrics.jsonl"),
    "rewards": EVALUATED,
    "ppo": ("*/policy/metrics.jsonl",),
}


def write(
    run_dir: Path, config: Config, *, facts: Mapping[str, object] | None = None, show_harmful: bool = False
) -> Path:
    """The path of report.html, written beside report.md and `figures/NAME.svg` and `.png`.

    Reads whatever the run folder holds; a section whose files are missing says so. `facts` are shown under the title
    (name: value), except `on_verified`, the judge's agreement with the verifier on this run's own pairs ({agreement,
    low, high, pairs}), and `on_people`, by arm its labels' agreement with people's; both join what calibration.json
    says of the judge. Texts of attacks and of answers that may be harmful are left out unless `show_harmful`, and then
    the page says so. Without matplotlib the report has tables only and says how to get figures. The same run folder
    gives the same bytes.

    Raises:
        DataError: A file of the run is damaged, or the report cannot be written; the message names the file.
    """
    run = _with_own_pairs(load(run_dir, config, show_harmful=show_harmful), facts or {})
    sections = tuple(_with_files(run_dir, made) for section in SECTIONS if (made := section(run)) is not None)
    page = Page(
        title=tidy(config.report.title or f"HRLAIF report: {config.name}", 200),
        facts=_facts(run, facts or {}),
        sections=sections,
        series=run.series,
        shown=SHOWN if show_harmful else "",
    )
    return write_page(page, run_dir, "report")


def _with_files(run_dir: Path, section: Section) -> Section:
    """The section with the files that hold the records behind its numbers."""
    found = (path for pattern in ROWS.get(section.id, ()) for path in sorted(run_dir.glob(pattern)))
    files = tuple(path.relative_to(run_dir).as_posix() for path in found)
    return section if section.missing else dataclasses.replace(section, files=files)


def _with_own_pairs(run: RunData, facts: Mapping[str, object]) -> RunData:
    """The judge's agreement with the verifier and with people on the run's own pairs belongs to what is known of it."""
    own = {name: found for name in OWN_PAIRS if isinstance(found := facts.get(name), Mapping)}
    return dataclasses.replace(run, calibration={**run.calibration, **own})


def _facts(run: RunData, facts: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    config = run.config
    own = {
        "policy": Path(config.model.name).name if Path(config.model.name).is_absolute() else config.model.name,
        "judge": run.calibration.get("judge") or config.judge.model or "bundled",
        "arms": ", ".join(config.arms),
        "prompts": f"{len(run.prompts):,}",
        "seed": config.seed,
    }
    named = {name: value for name, value in {**own, **facts}.items() if value is not None and name not in OWN_PAIRS}
    return tuple((tidy(name, 40), tidy(str(value), 200)) for name, value in named.items())
