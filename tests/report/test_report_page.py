from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hrlaif.artifacts import read_records, write_json, write_records
from hrlaif.config import Config
from hrlaif.errors import DataError
from hrlaif.report import write
from hrlaif.report.data import load
from hrlaif.report.page import SECTIONS
from hrlaif.report.writing import markdown_cell, markdown_quote
from hrlaif.types import Evaluation, Judgement, Verdict
from page_tags import ALLOWED, Tags

SECRET = "HARMFUL-TEXT-THAT-MUST-NOT-BE-SHOWN"
HOSTILE = (
    "</p></article><script>alert(1)</script><img src=x onerror=alert(2)> <a href='javascript:alert(3)'>x</a> {{ 7*7 }} "
    "```\n| a | b |\n# heading\n![x](http://example.org/x.png)\n\u202eright to left\u202c مرحبا " + "w" * 5000
)
# A section of the page, or a file of records in the run folder.
LOCAL = re.compile(r"#[\w-]+|[\w/]+\.jsonl")


def read(folder: Path) -> tuple[str, str]:
    return (folder / "report.html").read_text(encoding="utf-8"), (folder / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def written(full_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "run"
    shutil.copytree(full_run, folder)
    own = {"agreement": 0.531, "low": 0.47, "high": 0.59, "pairs": 264}
    path = write(folder, Config(name="fixture"), facts={"took": "21 min", "empty": None, "on_verified": own})
    assert path == folder / "report.html"
    return folder


def test_a_full_run_fills_every_section_of_page_and_markdown(written: Path) -> None:
    page, text = read(written)
    assert "Not in this run" not in page + text
    assert SECRET not in page + text
    for heading in ("Headline", "How good the judge is", "PPO", "Cost", "Cases side by side", "Settings"):
        assert f">{heading}</h2>" in page
        assert f"## {heading}\n" in text
    assert "took: <bdi>21 min</bdi>" in page
    assert "empty" not in page[: page.index("<main>")]


def test_every_section_links_the_rows_behind_its_numbers(written: Path) -> None:
    page, text = read(written)
    files = {
        part.split('"')[0]: re.findall(r"The rows behind these numbers: (.*?)</p>", part, re.S)
        for part in page.split('<section id="')[1:]
    }
    without = {section for section, found in files.items() if not found}
    assert without <= {"cost", "settings", "people"}  # costs are sums of the ledger; the fixture has no ratings
    links = re.findall(r'href="([^#"]+)"', page)
    assert "evaluation.jsonl" in links
    assert "rlaif/policy/metrics.jsonl" in links
    assert all((written / link).is_file() for link in links)
    assert all(f"]({link})" in text for link in links)


def test_every_figure_is_in_the_page_and_on_disk_as_svg_and_png(written: Path) -> None:
    page, text = read(written)
    names = {path.stem for path in (written / "figures").iterdir()}
    assert {"satisfaction", "preference-rlaif", "harm", "ppo-kl", "rewards-hrlaif-train", "red-team"} <= names
    for name in names:
        assert (written / "figures" / f"{name}.svg").read_text().startswith("<svg")
        assert (written / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"](figures/{name}.png)" in text
    assert page.count("<svg") == len(names)


def test_ids_of_all_figures_in_one_page_are_unique(written: Path) -> None:
    ids = [value for name, value in Tags(read(written)[0]).attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_the_page_loads_nothing_and_runs_nothing(written: Path) -> None:
    page, _ = read(written)
    found = Tags(page)
    assert set(found.tags) <= ALLOWED
    assert "default-src 'none'" in page
    for name, value in found.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href", "srcset", "action"):
            assert LOCAL.fullmatch(value), (name, value)
    assert not re.findall(r"(?:src|href)\s*=\s*[\"']?\s*(?:https?:|//)", page)
    assert not re.findall(r"url\((?!#)|@import", page)


def test_the_judges_agreement_on_own_pairs_comes_from_the_facts(written: Path) -> None:
    page, _ = read(written)
    assert "agrees with the verifier 53.1\u00a0%" in page
    assert "this run&#39;s verified pairs" in page
    assert "on_verified" not in page


def test_a_weak_judge_is_told_at_the_top(written: Path) -> None:
    page, text = read(written)
    top = page[: page.index('id="judge"')]
    assert 'class="callout warning"' in top
    assert "57.5\u00a0%" in top
    assert "**Warning.**" in text


def test_markdown_tables_have_one_width(written: Path) -> None:
    for block in re.findall(r"(?:^\|.*\n)+", read(written)[1], flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block
        assert re.match(r"\| --- \|", block.splitlines()[1])


def test_an_empty_folder_gives_a_report_that_says_what_is_missing(tmp_path: Path, config: Config) -> None:
    page = write(tmp_path, config).read_text(encoding="utf-8")
    for name in (
        "metrics.json",
        "calibration.json",
        "evaluation.jsonl",
        "labels.jsonl",
        "policy/metrics.jsonl",
        "costs.json",
    ):
        assert re.search(rf"Not in this run: [^<]*{re.escape(name)}", page), name
    # Nothing was fine-tuned, attacked or watched, and no benchmark asked.
    assert page.count("<h2>") == len(SECTIONS) - 6


@pytest.mark.parametrize(
    "gone",
    ["prompts.jsonl", "responses.jsonl", "evaluation.jsonl", "metrics.json", "calibration.json", "costs.json"]
    + [
        f"hrlaif/{name}"
        for name in ("red_team.jsonl", "labels.jsonl", "pairs.jsonl", "pairs.jsonl.manifest.json", "reward", "policy")
    ],
)
def test_any_part_may_be_missing(gone: str, full_run: Path, tmp_path: Path, config: Config) -> None:
    folder = tmp_path / "run"
    shutil.copytree(full_run, folder)
    shutil.rmtree(folder / gone) if (folder / gone).is_dir() else (folder / gone).unlink()
    run = load(folder, config)
    assert len([section(run) for section in SECTIONS]) == len(SECTIONS)


def test_a_run_of_one_arm_is_reported_without_the_other(full_run: Path) -> None:
    run = load(full_run, Config(name="one", arms=("rlaif",)))
    sections = {found.id: found for section in SECTIONS if (found := section(run)) is not None}
    assert "sft" not in sections
    assert [panel.name for figure in sections["preference"].figures for panel in figure.panels] == ["preference-rlaif"]
    assert "not part of this run" in sections["red-team"].missing


def test_a_damaged_file_is_named_with_its_line(full_run: Path, tmp_path: Path, config: Config) -> None:
    lines = (full_run / "evaluation.jsonl").read_bytes().splitlines()[:3]
    (tmp_path / "evaluation.jsonl").write_bytes(b"\n".join([*lines[:2], b'{"arm": 1}']))
    with pytest.raises(DataError, match=r"evaluation\.jsonl:3"):
        write(tmp_path, config)


def test_text_from_models_is_inert(full_run: Path, tmp_path: Path, config: Config) -> None:
    judged = Judgement(HOSTILE, HOSTILE, HOSTILE, 0.5, Verdict.FIRST, HOSTILE, HOSTILE)
    rows = [
        dataclasses.replace(
            row,
            category=HOSTILE,
            reason=HOSTILE,
            judgements=(judged,),
            reward=None,
            response=dataclasses.replace(row.response, text=HOSTILE),
        )
        for row in list(read_records(full_run / "evaluation.jsonl", Evaluation))[:9]
    ]
    write_records(tmp_path / "evaluation.jsonl", rows, fingerprint="x")
    write_json(tmp_path / "costs.json", {"by_purpose": {HOSTILE: {"calls": 1, "prompt_tokens": 5}}})
    write_json(tmp_path / "calibration.json", {"agreement": 0.7, "judge": HOSTILE, "by_category": {HOSTILE: 0.5}})
    page = write(tmp_path, config, facts={HOSTILE: HOSTILE}).read_text(encoding="utf-8")
    found = Tags(page)
    assert set(found.tags) <= ALLOWED
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not [value for name, value in found.attributes if name in ("src", "href") and not LOCAL.fullmatch(value)]
    assert "\u202e" not in page
    assert "<script>alert(1)</script>" in "".join(found.texts), "the text is shown as text"
    assert "{{ 7*7 }}" in page
    lines = read(tmp_path)[1].splitlines()
    marked = [line for line in lines if "example.org" in line or "# heading" in line or "<script>" in line]
    assert marked
    assert all(line.startswith("    ") or "\\# heading" in line for line in marked)


def test_markdown_cells_hold_no_markup() -> None:
    assert markdown_cell("a|b <i> [x](y)") == "a\\|b &lt;i&gt; \\[x\\](y)"
    assert markdown_quote("a\n# b\u2028```") == "    a\n    # b\n    ```"


def test_the_same_run_gives_the_same_bytes(full_run: Path, tmp_path: Path, config: Config) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    for folder in (first, second):
        folder.mkdir()
        for name in ("calibration.json", "costs.json", "evaluation.jsonl"):
            shutil.copy(full_run / name, folder)
        write(folder, config)
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(names) > 10
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_figures_of_an_earlier_report_do_not_stay(tmp_path: Path, config: Config) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "ppo-kl.svg").write_text("old")
    (tmp_path / "figures" / "notes.txt").write_text("mine")
    write(tmp_path, config)
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["notes.txt"]


def test_without_matplotlib_there_are_tables_and_a_hint(full_run: Path, tmp_path: Path) -> None:
    shutil.copy(full_run / "calibration.json", tmp_path)
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from pathlib import Path; from hrlaif.config import Config; from hrlaif.report import write\n"
        f"write(Path({str(tmp_path)!r}), Config(name='bare'))"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(Path(write.__code__.co_filename).parents[2])}
    )
    page, text = read(tmp_path)
    assert "pip install &#39;hrlaif[report]&#39;" in page
    assert "pip install 'hrlaif[report]'" in text
    assert "<svg" not in page
    assert "<details open>" in page
    assert not (tmp_path / "figures").exists()
