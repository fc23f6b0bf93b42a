"""The section on public benchmarks: every number with its interval, count, mode and rows."""

from __future__ import annotations

from pathlib import Path

from hrlaif.artifacts import write_json
from hrlaif.benchmarks import summarise
from hrlaif.config import Config
from hrlaif.report import write
from hrlaif.report.benchmarks import benchmarks
from hrlaif.report.data import load
from hrlaif.types import BenchmarkResult


def rows(kind: str, mode: str, measure: str, answers: list[bool | None]) -> list[BenchmarkResult]:
    return [
        BenchmarkResult(kind, kind, mode, f"{kind}/{n}", f"{kind} {n % 2}", None, {measure: answer})  # type: ignore[arg-type]
        for n, answer in enumerate(answers)
    ]


def written(folder: Path) -> Config:
    config = Config(name="b", run_dir=str(folder))
    start = rows("arc", "loglikelihood", "accuracy", [True, False, False, False])
    arm = rows("arc", "loglikelihood", "accuracy", [True, True, True, False])
    start += rows("xstest", "generative", "over_refusal", [True, None])
    arm += rows("xstest", "generative", "over_refusal", [False, False])
    summary = summarise({"start": start, "rlaif": arm, "hrlaif": start})
    write_json(folder / "metrics.json", {"arms": ["start", "rlaif", "hrlaif"], "benchmarks": summary})
    return config


def test_the_table_has_a_row_per_benchmark_and_measure_with_mode_and_a_column_per_contestant(tmp_path: Path) -> None:
    section = benchmarks(load(tmp_path, written(tmp_path)))
    assert section is not None
    shown, differing, *by_category = section.tables
    assert shown.columns == ("Benchmark and measure", "Mode", "start", "rlaif", "hrlaif")
    assert [row[0].text for row in shown.rows] == ["arc: accuracy", "xstest: safe prompts refused (less is better)"]
    assert [row[1].text for row in shown.rows] == ["log-likelihood", "generative"]
    arc = shown.rows[0]
    assert (arc[2].text, arc[3].text) == ("25.0\u00a0%", "75.0\u00a0%")
    assert all("n = 4" in cell.detail for cell in arc[2:])
    assert differing.rows[0][1].text == "+50.0 points"
    assert "p = 0.5" in differing.rows[0][1].detail
    assert [table.rows[0][0].text for table in by_category] == ["arc 0: accuracy", "xstest 0: safe prompts refused"]
    assert any("1 (start), 1 (hrlaif)" in note for note in section.notes)


def test_page_and_markdown_lead_to_the_rows(tmp_path: Path) -> None:
    for arm in ("start", "rlaif", "hrlaif"):
        (tmp_path / arm).mkdir(exist_ok=True)
        (tmp_path / arm / "benchmarks.jsonl").touch()
    page = write(tmp_path, written(tmp_path)).read_text()
    text = (tmp_path / "report.md").read_text()
    for arm in ("start", "rlaif", "hrlaif"):
        assert f'<a href="{arm}/benchmarks.jsonl">' in page
        assert f"]({arm}/benchmarks.jsonl)" in text


def test_a_run_without_benchmarks_has_no_such_section(tmp_path: Path) -> None:
    assert benchmarks(load(tmp_path, Config(name="b", run_dir=str(tmp_path)))) is None
