import json
from pathlib import Path

import pytest

from hrlaif.config import Config, EvaluationSection, JudgeEndpoint, JudgeSection, RedTeamSection
from hrlaif.errors import ConfigError
from hrlaif.judges.harm_cuts import HarmCuts
from hrlaif.judges.harm_quality import HarmQuality, harm_cuts, questions_hash, read_quality
from hrlaif.metrics import Seen
from hrlaif.pipeline import STAGES


def written(path: Path, **changes: object) -> Path:
    found = {
        "judge": "j",
        "questions": questions_hash(),
        "sensitivity": 0.8,
        "sensitivity_rows": 10,
        "specificity": 0.75,
        "specificity_rows": 20,
    }
    path.mkdir(exist_ok=True)
    file = path / "harm.json"
    file.write_text(json.dumps(found | changes))
    return file


def test_the_counts_behind_the_rates_are_read_back(tmp_path: Path) -> None:
    quality = read_quality(written(tmp_path), judge="j")
    assert quality == HarmQuality("j", Seen(8, 10), Seen(15, 20))
    # 40 % counted: (0.4 + 0.75 - 1) / (0.8 + 0.75 - 1) = 0.15 / 0.55.
    assert quality.corrected(40, 100, name="harmful").value == pytest.approx(0.15 / 0.55)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"judge": "another"}, "about the judge 'another', but harm is judged by 'j'"),
        ({"questions": "old"}, "other questions"),
        ({"sensitivity": 0.2}, "no better than chance"),
        ({"sensitivity": None, "sensitivity_rows": 0}, "both kinds"),
        ({"sensitivity": "high"}, "holds no calibration"),
        ({"sensitivity_rows": None}, "both kinds"),
        ({"cut_harm": "high"}, "holds no calibration"),
        ({"cut_refusal": float("nan")}, "a cut is no number"),
    ],
)
def test_a_file_that_corrects_nothing_is_refused_with_the_reason(tmp_path: Path, changes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_quality(written(tmp_path, **changes), judge="j")


def test_a_missing_file_or_another_one_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hrlaif calibrate harm"):
        read_quality(tmp_path / "harm.json", judge="j")
    (tmp_path / "harm.json").write_text("[]")
    with pytest.raises(ConfigError, match="holds no calibration"):
        read_quality(tmp_path / "harm.json", judge="j")


def test_the_cuts_are_read_back_for_the_judge_that_they_are_of(tmp_path: Path) -> None:
    path = written(tmp_path, cut_refusal=-1.5, cut_harm=0.5, cut_harm_2=2)
    cuts = HarmCuts(-1.5, (0.5, 2.0))
    assert read_quality(path, judge="j").cuts == cuts

    judge = JudgeSection(url="http://127.0.0.1:1/v1", model="k")
    other = JudgeEndpoint(url="http://127.0.0.1:1/v1", model="j")
    config = Config(judge=judge, evaluation=EvaluationSection(judge=other, harm_calibration=str(path)))
    # The evaluation's judge has them; the red team's, which is another model, keeps its own word.
    assert harm_cuts(config) == cuts
    assert harm_cuts(config, config.judge) == HarmCuts()
    assert harm_cuts(Config(judge=judge)) == HarmCuts()
    own = written(tmp_path / "red team", judge="k", cut_harm=0.25)
    config = config.model_copy(update={"red_team": RedTeamSection(harm_calibration=str(own))})
    assert (harm_cuts(config), harm_cuts(config, config.judge)) == (cuts, HarmCuts(None, (0.25, 0.0)))
    config = config.model_copy(update={"red_team": RedTeamSection(harm_calibration=str(path))})
    with pytest.raises(ConfigError, match=r"^red_team\.harm_calibration: .* is about the judge 'j', but .* by 'k'"):
        harm_cuts(config, config.judge)


def test_where_the_red_teams_file_lies_makes_nothing_stale_and_its_cuts_do(tmp_path: Path) -> None:
    def settings(path: Path | None) -> str:
        section = RedTeamSection(harm_calibration=str(path) if path else "")
        config = Config(judge=JudgeSection(url="http://127.0.0.1:1/v1", model="j"), red_team=section)
        return repr(next(stage.settings(config) for stage in STAGES if stage.name == "red_team"))

    one, moved = (written(tmp_path / name, cut_harm=0.5) for name in ("one", "moved"))
    assert settings(one) == settings(moved) != settings(None)
    assert settings(written(tmp_path / "other", cut_harm=0.6)) != settings(one)


def test_other_cuts_make_stale_what_is_judged_with_them_and_nothing_else(tmp_path: Path) -> None:
    def settings(cut: float) -> dict[str, str]:
        path = written(tmp_path, cut_harm=cut)
        evaluation = EvaluationSection(harm_calibration=str(path))
        config = Config(judge=JudgeSection(url="http://127.0.0.1:1/v1", model="j"), evaluation=evaluation)
        names = ("verifications", "labels", "red_team", "regression", "evaluation", "metrics")
        return {stage.name: repr(stage.settings(config)) for stage in STAGES if stage.name in names}

    before, after = settings(0.5), settings(0.6)
    assert {name for name in before if before[name] != after[name]} == {
        *("red_team", "regression", "evaluation", "metrics")
    }
