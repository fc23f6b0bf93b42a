from fractions import Fraction

import pytest

from hrlaif.verifiers.quantity import Match, compare, quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-12", -12),
        ("- 3", -3),
        ("1,234.5", Fraction(2469, 2)),
        ("400 000", 400_000),
        (r"\frac{3}{4}", Fraction(3, 4)),
        (r"-\frac{40}{153}", Fraction(-40, 153)),
        (r"1\frac{1}{4}", Fraction(5, 4)),
        ("3 1/2", Fraction(7, 2)),
        ("3又1/2", Fraction(7, 2)),
        ("2½", Fraction(5, 2)),
        (r"0.\overline{03}", Fraction(1, 33)),
        (r"0.1\overline{6}", Fraction(1, 6)),
        ("28%", Fraction(7, 25)),
        ("1.2e3", 1200),
        ("10^{-2}", Fraction(1, 100)),
        ("$-5", -5),
        ("5 million", 5_000_000),
        ("1.5万", 15_000),
        ("twenty-one apples", 21),
        ("minus four", -4),
        ("十二", 12),
        ("一百零五", 105),
        ("一万二千", 12_000),
        ("二点五", Fraction(5, 2)),
        ("三分之二", Fraction(2, 3)),
        ("百分之二十五", Fraction(1, 4)),
        ("12元", 12),
        ("12 cm^2", 12),
        ("12 miles per hour", 12),
    ],
)
def test_a_written_quantity_is_read_exactly(text: str, value: Fraction) -> None:
    read = quantity(text)
    assert read is not None
    assert read.value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "5 or 6",
        "5x",
        "2n + 1",
        "3 to 1",
        "5 cm 3 mm",
        "7\\pi",
        "52_8",
        "1/0",
        "1,22",
        "10^{1000000}",
        "10^{5000}",
        "1e5000",
        "1.2 \\times 10^{99999}",
        "1e999999999",
        "9" * 2000,
        "three quarters",
        "half",
        "一样",
        "千米",
        "两三个",
        "A",
    ],
)
def test_anything_more_or_other_than_one_quantity_is_not_read(text: str) -> None:
    assert quantity(text) is None


@pytest.mark.parametrize(
    ("reference", "found", "match"),
    [
        ("12", "12.0", Match.SAME),
        ("12", "12.000000000000002", Match.SAME),  # the noise of binary floats, below one part in 10^9
        ("12", "12.0001", Match.DIFFERENT),
        ("1/3", "0.33333", Match.SAME),  # five significant digits
        ("1/3", "0.333", Match.UNKNOWN),
        ("1/3", "0.3", Match.DIFFERENT),
        ("2.67", "8/3", Match.UNKNOWN),  # 8/3 rounds to 2.67, but the reference may be exact
        ("2.67", "2.68", Match.DIFFERENT),
        ("28%", "28", Match.SAME),
        ("28%", "0.28", Match.SAME),
        ("0.5", "0.5%", Match.UNKNOWN),  # the same digits, a hundred times apart
        ("5", "5 million", Match.UNKNOWN),
        ("5 cm", "5 centimetres", Match.SAME),
        ("5 cm", "5 m", Match.UNKNOWN),
        ("5 cm", "6 m", Match.UNKNOWN),
        ("5 apples", "5 fruits", Match.UNKNOWN),
        ("5 apples", "6 fruits", Match.DIFFERENT),
        ("5", "5m", Match.UNKNOWN),  # metres, or five times m
    ],
)
def test_two_quantities_are_the_same_different_or_undecided(reference: str, found: str, match: Match) -> None:
    left, right = quantity(reference), quantity(found)
    assert left is not None
    assert right is not None
    assert compare(left, right) is match
