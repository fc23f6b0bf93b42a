from __future__ import annotations

from hrlaif.report.data import as_metric
from hrlaif.report.layout import Cell
from hrlaif.report.wording import difference, flat, listed, measured, percent, shown, tidy
from hrlaif.types import Metric


def test_a_share_is_written_in_percent_with_interval_and_count() -> None:
    assert measured(Metric("correct", 0.6254, 0.5, 0.75, 1200, "share")) == Cell(
        "62.5\u00a0%", "50.0 to 75.0\nn = 1,200"
    )


def test_lengths_and_scores_keep_their_unit() -> None:
    assert measured(Metric("length", 71.26, 70, 73, 9, "words")) == Cell("71.3 words", "70.0 to 73.0\nn = 9")
    assert measured(Metric("reward", -0.5, -1, 0, 9, "score")).text == "-0.50 score"


def test_differences_carry_their_sign_and_shares_are_points() -> None:
    assert difference(Metric("correct", 0.05, -0.01, 0.11, 9, "share")) == Cell("+5.0 points", "-1.0 to +11.0\nn = 9")
    assert difference(Metric("length", -3, -5, -1, 9, "words")).text == "-3.00 words"


def test_what_was_not_measured_is_a_dash_and_never_0() -> None:
    assert measured(None).text == difference(None).text == "–"
    assert as_metric({"value": float("nan"), "low": 0, "high": 1, "n": 0}) is None
    assert as_metric(None) is None
    assert as_metric({"value": 0, "low": 0, "high": 0.1, "n": 30}, "harmful") == Metric("harmful", 0, 0, 0.1, 30)


def test_names_fit_on_one_line_without_marks_that_reorder_text() -> None:
    assert tidy("a\n b\u202e\x00 c") == "a b c"
    assert tidy("abcdef", 4) == "abc…"
    assert shown("a\r\nb\u2066") == "a\nb"


def test_nested_values_become_rows() -> None:
    assert flat({"a": [{"b": 1, "c": []}, {"b": 2}]}) == [("a · 1 · b", "1"), ("a · 1 · c", ""), ("a · 2 · b", "2")]
    assert flat({"a": {"b": 0.123456, "c": None}, "d": [1, 2], "e": 12345.0, "f": True}) == [
        ("a · b", "0.1235"),
        ("a · c", "–"),
        ("d", "1, 2"),
        ("e", "12,345"),
        ("f", "True"),
    ]


def test_lists_and_percent() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert percent(0.5, 0) == "50\u00a0%"
