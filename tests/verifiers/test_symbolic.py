import pytest

from hrlaif.verifiers.quantity import Match
from hrlaif.verifiers.symbolic import relate

SAME, DIFFERENT, UNKNOWN = Match.SAME, Match.DIFFERENT, Match.UNKNOWN


@pytest.mark.parametrize(
    ("reference", "found", "match"),
    [
        (r"2\sqrt{3}", r"\sqrt{12}", SAME),
        (r"(x+1)^2", r"x^2+2x+1", SAME),
        (r"(x+1)^2", r"x^2+2x+2", DIFFERENT),
        (r"\frac{1}{2004!}", r"\frac{1}{2006!}", DIFFERENT),
        ("10^{-40}", "10^{-41}", DIFFERENT),
        (r"\sqrt{2}", "1.41421", SAME),
        (r"\sqrt{2}", "1.414", UNKNOWN),
        (r"\sqrt{2}", "1.42", DIFFERENT),
        (r"e^{i\pi}", "-1", SAME),
        (r"\sin^2 x + \cos^2 x", "1", SAME),
        ("2n+1", "2k+1", DIFFERENT),
        ("y=2x", "x=y/2", SAME),
        (r"x^2/4+y^2/3=1", r"3x^2+4y^2=12", SAME),
        (r"x^2/4+y^2/3=1", r"3x^2+4y^2=13", DIFFERENT),
        ("x<3", "3>x", SAME),
        ("x<3", "x>3", DIFFERENT),
        ("2x<6", "x<3", SAME),
        (r"x \in [-2,7]", r"-2 \le x \le 7", SAME),
        (r"(-\infty,3]", r"x \le 3", SAME),
        (r"(-\infty,3)", r"x \le 3", DIFFERENT),
        ("(1,2)", "(2,1)", DIFFERENT),
        ("1,2", "2,1", SAME),
        (r"\{1,2\}", "(2,1)", UNKNOWN),
        (r"3 \pm \sqrt{2}", r"3-\sqrt{2}, 3+\sqrt{2}", SAME),
        ("(5,\\infty)", "7", DIFFERENT),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}", SAME),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&3\\2&4\end{bmatrix}", DIFFERENT),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)", SAME),
        ("k=4, n=2", "n=2, k=4", SAME),
        ("k=4, n=2", "n=4, k=2", DIFFERENT),
        ("10^{10^{10}}", "3", UNKNOWN),
        ("no idea what 5 is", "5", UNKNOWN),
        ("|x|", "x", UNKNOWN),  # the same for x > 0 only, and the domain is not known
        (r"|x|", r"\sqrt{x^2}", SAME),
        ("x+y=0", "x-y=0", DIFFERENT),
        ("x+2y+3z=0", "3x+2y+z=0", DIFFERENT),
        ("x+y<0", "-x-y>0", SAME),
        (r"\sqrt{2}\sqrt{3}-\sqrt{6}", "0", SAME),
        (r"\frac{1}{3}", "0.3333333", SAME),
        ("0.3333", r"\frac{1}{3}", UNKNOWN),
        (r"\{x : x > 2\}", r"(2,\infty)", SAME),
        (r"\frac{x^2-1}{x-1}", "x+1", SAME),
        (r"\sum_{k=1}^{4} k", "10", SAME),
    ],
)
def test_expressions_are_compared_by_value_at_many_digits(reference: str, found: str, match: Match) -> None:
    assert relate(reference, found) is match
