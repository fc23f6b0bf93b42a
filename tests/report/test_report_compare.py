from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest

from cli_outcome import Outcome
from hrlaif.artifacts import read_json, write_json
from hrlaif.benchmarks import summarise as benchmark_summary
from hrlaif.config import Config, dump
from hrlaif.types import BenchmarkResult
from page_tags import ALLOWED, Tags

SECRET = "HARMFUL-TEXT-THAT-MUST-NOT-BE-SHOWN"
HOSTILE = "<script>alert(1)<x> 'a' \"b\" | # [x](y) _$z$"


@pytest.fixture(scope="module")
def two(seeds: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "new" / "two"
    shown = Outcome("compare", *seeds[:2], "--out", out)
    assert shown.code == 0, shown.err
    assert shown.out == f"Comparison: {out / 'compare.html'}\n"
    return out


def read(folder: Path) -> tuple[str, str]:
    return (folder / "compare.html").read_text(encoding="utf-8"), (folder / "compare.md").read_text(encoding="utf-8")


def test_every_contestant_of_every_run_has_a_row_with_the_numbers_of_its_metrics(two: Path, seeds: list[Path]) -> None:
    page, text = read(two)
    found = json.loads((two / "compare.json").read_text(encoding="utf-8"))
    for run in seeds[:2]:
        metrics = read_json(run / "metrics.json")["metrics"]
        assert found["runs"][run.name]["metrics"] == metrics
        for arm, groups in metrics.items():
            name = rf'<tr><th scope="row"><span class="chip {arm}">{run.name}: {arm}</span>'
            row = re.search(rf"{name}.*?</tr>", page, re.DOTALL)
            assert row
            share = groups["all"]["satisfaction"]
            low, high = (f"{100 * share[key]:.1f}" for key in ("low", "high"))
            value = f"{100 * share['value']:.1f}"
            assert f"<td>{value}\u00a0%<small>{low} to {high}\nn = {share['n']}</small></td>" in row.group()
            assert f"| {run.name}: {arm} | {value} % ({low} to {high}, n = {share['n']}) |" in text
    assert 'id="mean"' not in page, "two runs have no mean"
    assert found["mean"] == {}


def test_figures_lie_beside_the_page_and_it_loads_nothing(two: Path) -> None:
    page, text = read(two)
    names = {path.stem for path in (two / "figures").iterdir()}
    categories = {f"compare-satisfaction-{number}" for number in range(1, 11)}
    shares = ("satisfaction", "win-ratio", "human-win-ratio", "harmful", "over-refusal")
    assert names == {f"compare-{share}" for share in shares} | categories
    assert all((two / "figures" / f"{name}{end}").is_file() for name in names for end in (".svg", ".png"))
    assert all(f"](figures/{name}.png)" in text for name in names)
    assert set(Tags(page).tags) <= ALLOWED
    assert not re.findall(r"(?:src|href)\s*=\s*[\"']?\s*(?:\w+:|//)", page)
    assert SECRET not in page + text + (two / "compare.json").read_text()


def test_links_lead_to_the_files_of_the_runs_and_settings_that_differ_are_named(two: Path) -> None:
    page, text = read(two)
    links = [unquote(link) for link in re.findall(r'href="([^#"]+)"', page)]
    assert len(links) == 2 * len(("metrics.json", "evaluation.jsonl", "config.toml"))
    assert all((two / link).is_file() for link in links)
    assert "| seed | 0 | 1 |" in text
    assert read_json(two / "compare.json")["settings"] == {"seed": {"seed-0": "0", "seed-1": "1"}}


def test_three_runs_show_their_mean_and_the_same_runs_give_the_same_bytes(seeds: list[Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert Outcome("compare", *seeds, "--out", tmp_path / name).code == 0
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 3 + 2 * 15
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    found = read_json(tmp_path / "a" / "compare.json")["mean"]["satisfaction"]["hrlaif"]
    shares = [read_json(run / "metrics.json")["metrics"]["hrlaif"]["all"]["satisfaction"]["value"] for run in seeds]
    assert found["mean"]["value"] == pytest.approx(sum(shares) / 3)
    mean = read(tmp_path / "a")[1].split("## Mean over runs")[1]
    assert re.search(rf"\| hrlaif \| {100 * sum(shares) / 3:.1f} % \(.*, n = 30\) \|", mean)


def test_names_of_runs_are_inert_and_each_shown_once(seeds: list[Path], tmp_path: Path) -> None:
    folders = [tmp_path / f"_{HOSTILE}{'w' * 60}{end}" for end in "ab"]
    folders.append(tmp_path / "out" / "javascript:alert(1)")
    for folder in folders:
        folder.mkdir(parents=True)
        shutil.copy(seeds[0] / "metrics.json", folder)
    shown = Outcome("compare", *folders, "--out", tmp_path / "out")
    assert shown.code == 0, shown.err
    page, text = read(tmp_path / "out")
    found = Tags(page)
    assert set(found.tags) <= ALLOWED
    links = [value for name, value in found.attributes if name == "href" and not value.startswith("#")]
    assert all((tmp_path / "out" / unquote(link)).is_file() for link in links)
    assert not any(":" in link for link in links)
    assert len(read_json(tmp_path / "out" / "compare.json")["runs"]) == 3
    assert "<script" not in text


@pytest.mark.parametrize("out", [[], ["--out", "x"]])
def test_runs_that_were_not_evaluated_are_named_in_one_message(
    seeds: list[Path], tmp_path: Path, out: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    shown = Outcome("compare", seeds[0], tmp_path / "empty", tmp_path / "gone", *out)
    assert shown.code == 2
    assert shown.message.startswith(f"{tmp_path / 'empty'}, {tmp_path / 'gone'}: no metrics.json there. Evaluate first")


def test_a_run_is_neither_counted_twice_nor_written_over(seeds: list[Path], tmp_path: Path) -> None:
    assert "named twice" in Outcome("compare", seeds[0], seeds[0]).message
    shown = Outcome("compare", *seeds[:2], "--out", "s3://bucket/compared")
    assert shown.code == 2
    assert "--out s3://bucket/compared" in shown.message
    assert "Name another folder" in Outcome("compare", seeds[0], "--out", seeds[1]).message
    write_json(tmp_path / "metrics.json", ["not", "metrics"])
    assert "not what the evaluation writes" in Outcome("compare", tmp_path).message


def test_runs_with_other_arms_categories_and_benchmarks_stand_beside_each_other(
    seeds: list[Path], tmp_path: Path
) -> None:
    for run in seeds[:2]:
        shutil.copytree(run, tmp_path / run.name)
    other = read_json(seeds[1] / "metrics.json")
    renamed = json.loads(json.dumps(other).replace('"rlaif', '"further').replace('"math"', '"algebra"'))
    wins = {"start": [True, False, False, False], "further": [True, True, True, False], "hrlaif": [True] * 4}
    results = {
        arm: [
            BenchmarkResult("arc", "arc", "loglikelihood", str(n), "", None, {"accuracy": x}) for n, x in enumerate(row)
        ]
        for arm, row in wins.items()
    }
    write_json(tmp_path / "seed-1" / "metrics.json", renamed | {"benchmarks": benchmark_summary(results)})
    (tmp_path / "seed-1" / "config.toml").write_text(dump(Config(name="b", arms=("hrlaif",), seed=1)))
    shown = Outcome("compare", tmp_path / "seed-0", tmp_path / "seed-1", "--out", tmp_path / "out")
    assert shown.code == 0, shown.err
    _, text = read(tmp_path / "out")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    by_name = {row[0]: row[1:] for row in rows if row}
    assert {"seed-0: rlaif", "seed-1: further"} < set(by_name)
    assert not {"seed-0: further", "seed-1: rlaif"} & set(by_name)
    assert ("math: seed-0" in by_name, "math: seed-1" in by_name, "algebra: seed-1" in by_name) == (True, False, True)
    assert by_name["all: seed-0"][3] == "–", "no further model in that run"
    accuracy = next(row for row in rows if row and row[0].startswith("arc (log-likelihood): accuracy"))
    assert [cell.split(" ")[0] for cell in accuracy[1:]] == ["25.0", "–", "100.0", "75.0"]
    assert by_name["arms"] == ["rlaif, hrlaif", "hrlaif"]


def test_models_whose_long_names_begin_alike_are_told_apart(seeds: list[Path], tmp_path: Path) -> None:
    text = json.dumps(read_json(seeds[0] / "metrics.json"))
    names = [f"organisation-model-8B-Instruct{end}" for end in "ab"]
    for arm, name in zip(('"hrlaif', '"rlaif'), names, strict=True):
        text = text.replace(arm, f'"{name}')
    write_json(tmp_path / "run" / "metrics.json", json.loads(text))
    assert Outcome("compare", tmp_path / "run", "--out", tmp_path / "out").code == 0
    page, _ = read(tmp_path / "out")
    assert all(f'<span class="chip other-{place}">run: {name}</span>' in page for place, name in enumerate(names[::-1]))


def test_one_run_has_nothing_to_compare_with(seeds: list[Path], tmp_path: Path) -> None:
    assert Outcome("compare", seeds[0], "--out", tmp_path / "out").code == 0
    page, text = read(tmp_path / "out")
    assert "HRLAIF comparison of one run" in page
    assert "Nothing to compare with." in text


def test_figures_of_an_earlier_comparison_are_removed_and_others_stay(seeds: list[Path], tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ("compare-satisfaction-99.svg", "mine.svg"):
        (tmp_path / "figures" / name).touch()
    assert Outcome("compare", *seeds[:2], "--out", tmp_path).code == 0
    assert not (tmp_path / "figures" / "compare-satisfaction-99.svg").exists()
    assert (tmp_path / "figures" / "mine.svg").exists()
