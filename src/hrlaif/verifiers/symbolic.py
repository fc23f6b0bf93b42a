"""Whether two mathematical expressions are the same answer: parsed by math-verify's LaTeX parser, compared by ours.

Runs inside a worker process (`solver.py`), because a short expression can take for ever. The library's own comparison
is only a proposal here: it rounds, so it takes 1/2004! for 1/2006!. Nothing is SAME unless it agrees at many digits,
relative to its size, wherever it can be evaluated.
"""

from __future__ import annotations

import logging
import re
from fractions import Fraction
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import NormalizationConfig, latex2sympy, normalize_latex
from latex2sympy2_extended.sets import FiniteSet as ParsedSet
from math_verify import verify
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational

from hrlaif.verifiers.notation import is_prose, latex
from hrlaif.verifiers.quantity import Match, significant_match

DIGITS = 30
TOLERANCE = sympy.Float("1e-12")
# Points for the first symbol, the next ones follow at a distance. Formulas that agree at the positive points and
# differ at the negative ones (|x| and x) may or may not have the same domain.
_POSITIVE = 3
_POINTS = tuple(sympy.Rational(*pair) for pair in ((17, 11), (31, 13), (47, 19), (-29, 17), (-71, 23)))
_NORMAL = NormalizationConfig(
    basic_latex=True, units=True, malformed_operators=True, nits=True, boxed="none", equations=False
)
_COMPLEX = re.compile(
    r"(?<![a-zA-Z\\])i(?![a-zA-Z])|\\(?:mathbb\{C\}|imath|operatorname\{(?:Re|Im)\}|Re|Im|arg)(?![a-zA-Z])"
)
_SET_BUILDER = re.compile(r"^\\\{\s*[a-z]\s*(?:\\in\s*\\mathbb\{R\}\s*)?(?::|\\mid|\||\\vert)\s*(.*?)\s*\\\}$")
_APART = re.compile(r"\d\s+\d")
_HUGE = re.compile(r"\^\{?\(?-?\d{6,}|\d{6,}\)?\}?!|\^\{?\d+\}?\^|\^\{[^{}]*\^\{?\d{3,}|\d!+\)?\}?!|\^\{[^{}]*!\}")


def relate(reference: str, found: str) -> Match:
    """Whether `found` is the same answer as `reference`; UNKNOWN where either cannot be read or evaluated."""
    logging.disable(logging.WARNING)
    if ("°" in latex(reference)) != ("°" in latex(found)) and "\\pi" in latex(reference + " " + found):
        reference, found = (latex(text).replace("°", "\\cdot\\frac{\\pi}{180}") for text in (reference, found))
    is_real = not (_COMPLEX.search(reference) or _COMPLEX.search(found))
    gold, answer = parse(reference, is_real=is_real), parse(found, is_real=is_real)
    if gold is None or answer is None:
        return Match.UNKNOWN
    return _relate(gold, answer)


def parse(text: str, *, is_real: bool = True) -> Any:
    """The SymPy object of one expression, unevaluated; None where it is prose, too large, or not understood."""
    text = latex(text).replace("°", "^\\circ ").replace("%", "\\%").replace("$", "")
    if not text or len(text) > 2000 or _HUGE.search(text.replace(" ", "")) or _APART.search(text):
        return None
    text = _SET_BUILDER.sub(r"\1", text)
    if is_prose(text) and re.search(r"[\d\\=]", text):
        return None
    try:
        normal = normalize_latex(text, config=_NORMAL)
        value = latex2sympy(normal, is_real=is_real, convert_degrees=False, normalization_config=None)
        if is_real or not isinstance(value, sympy.Basic):
            return value
        return value.xreplace({symbol: sympy.I for symbol in value.free_symbols if symbol.name == "i"})
    except Exception:
        return None


def _relate(gold: Any, answer: Any) -> Match:
    if isinstance(gold, sympy.Symbol) and isinstance(answer, sympy.Symbol):
        return _match(gold.name.casefold() == answer.name.casefold())
    gold, answer = _unwrap(gold, answer)
    if _is_relation(gold) and _is_relation(answer):
        return _relate_relations(gold, answer)
    gold, answer = _as_set(gold, answer), _as_set(answer, gold)
    if _is_relation(gold) or _is_relation(answer):
        return Match.UNKNOWN
    if isinstance(gold, sympy.MatrixBase) or isinstance(answer, sympy.MatrixBase):
        return _relate_matrices(gold, answer)
    if isinstance(gold, (sympy.Set, sympy.Tuple)) or isinstance(answer, (sympy.Set, sympy.Tuple)):
        return _relate_sets(gold, answer)
    return _relate_values(gold, answer)


def _match(is_same: bool) -> Match:
    return Match.SAME if is_same else Match.DIFFERENT


def _both(results: list[Match]) -> Match:
    """SAME where all are, DIFFERENT where one is, else UNKNOWN."""
    if Match.DIFFERENT in results:
        return Match.DIFFERENT
    return Match.UNKNOWN if Match.UNKNOWN in results else Match.SAME


def _is_relation(value: Any) -> bool:
    return isinstance(value, Relational) or (type(value).__name__ == "And" and hasattr(value, "args"))


def _chain(value: Any) -> list[Any]:
    """The relations of `a = b = c` in the order written."""
    if isinstance(value, Relational):
        return [value]
    parts: list[Any] = []
    for part in getattr(value, "_unsorted_args", value.args):
        parts.extend(_chain(part))
    return parts


def _assigned(value: Any) -> tuple[Any, Any] | None:
    """(name, value) of `x = 5`, `f(x) = x + 1`, `(x, y) = (1, 2)`, `x = 2 + 3 = 5`; None for any other statement."""
    if not _is_relation(value):
        return None
    parts = _chain(value)
    if not all(isinstance(part, sympy.Eq) for part in parts):
        return None
    name = parts[0].lhs
    is_name = isinstance(name, (sympy.Symbol, AppliedUndef)) or not getattr(name, "free_symbols", {0}).isdisjoint({0})
    is_tuple = isinstance(name, (sympy.Tuple, sympy.Interval, sympy.FiniteSet)) and bool(name.free_symbols)
    return (name, parts[-1].rhs) if is_name or is_tuple or _is_product_of_symbols(name) else None


def _is_product_of_symbols(value: Any) -> bool:
    return isinstance(value, sympy.Mul) and all(isinstance(part, (sympy.Symbol, sympy.exp)) for part in value.args)


def _unwrap(gold: Any, answer: Any) -> tuple[Any, Any]:
    """Drop names that only one side gives (`x = 5` against `5`), or that both give alike."""
    gold_name, answer_name = _assigned(gold), _assigned(answer)
    if gold_name and answer_name:
        if gold_name[0] == answer_name[0]:
            return gold_name[1], answer_name[1]
    elif gold_name and (not _is_relation(answer) or isinstance(gold_name[1], sympy.Set)):
        return gold_name[1], answer
    elif answer_name and (not _is_relation(gold) or isinstance(answer_name[1], sympy.Set)):
        return gold, answer_name[1]
    return gold, answer


def _as_set(value: Any, other: Any) -> Any:
    """A relation in one variable as the set of its solutions, where the other side is a set."""
    if not _is_relation(value) or not isinstance(other, sympy.Set):
        return value
    try:
        names = {function: sympy.Symbol(str(function), real=True) for function in value.atoms(AppliedUndef)}
        return sympy.And(*[part.xreplace(names) for part in _chain(value)]).as_set()
    except Exception:
        return value


def _relate_relations(gold: Any, answer: Any) -> Match:
    ours, theirs = _chain(gold), _chain(answer)
    if len(ours) == len(theirs) == 1:
        left, right = ours[0], theirs[0]
        flipped = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "==", "!=": "!="}
        sign = _ratio_sign(left.lhs - left.rhs, right.lhs - right.rhs) if _can_subtract(left, right) else None
        if sign is not None and (left.rel_op == right.rel_op if sign > 0 else flipped.get(left.rel_op) == right.rel_op):
            return Match.SAME
        if sign is not None and left.rel_op in ("==", "!=") and left.rel_op == right.rel_op:
            return Match.SAME
        assigned = _assigned(gold), _assigned(answer)
        if assigned[0] and assigned[1] and assigned[0][0] != assigned[1][0]:
            return Match.UNKNOWN
    elif [str(part) for part in ours] == [str(part) for part in theirs]:
        return Match.SAME
    left_set, right_set = _as_set(gold, sympy.Reals), _as_set(answer, sympy.Reals)
    if not _is_relation(left_set) and not _is_relation(right_set) and gold.free_symbols == answer.free_symbols:
        return _relate_sets(left_set, right_set)
    return Match.UNKNOWN if _proposes(gold, answer) else Match.DIFFERENT


def _can_subtract(*relations: Any) -> bool:
    return all(isinstance(side, sympy.Expr) for part in relations for side in (part.lhs, part.rhs))


def _ratio_sign(left: Any, right: Any) -> int | None:
    """The sign of the constant c with left = c * right, None where there is none."""
    ratio = None
    for values in zip(_samples(left, right, 0), _samples(left, right, 1), strict=True):
        if any(value is None for value in values) or values[1] == 0 or values[0] == 0:
            return None
        quotient = values[0] / values[1]
        if ratio is not None and abs(quotient - ratio) > TOLERANCE * abs(ratio):
            return None
        ratio = quotient
    if ratio is None or abs(sympy.im(ratio)) > TOLERANCE:
        return None
    return 1 if sympy.re(ratio) > 0 else -1


def _relate_matrices(gold: Any, answer: Any) -> Match:
    cells: list[list[Any]] = []
    shapes: list[tuple[int, ...] | None] = []
    for value in (gold, answer):
        if isinstance(value, sympy.MatrixBase):
            cells.append(list(value.flat()))
            shapes.append(tuple(value.shape))
        else:
            parts = _ordered(value)
            if parts is None:
                return Match.DIFFERENT if _is_number(value) else Match.UNKNOWN
            cells.append(parts)
            shapes.append(None)
    if None in shapes:
        vector = shapes[0] or shapes[1]
        if vector is None or 1 not in vector:
            return Match.UNKNOWN
    elif shapes[0] != shapes[1]:
        return Match.DIFFERENT
    if len(cells[0]) != len(cells[1]):
        return Match.DIFFERENT
    return _both([_relate(left, right) for left, right in zip(*cells, strict=True)])


def _ordered(value: Any) -> list[Any] | None:
    """The parts of a tuple in order; `(1, 2)` is parsed as an open interval and counts as a pair too."""
    if isinstance(value, sympy.Tuple):
        return list(value.args)
    if isinstance(value, sympy.Interval) and value.left_open and value.right_open:
        return [value.start, value.end]
    if isinstance(value, ParsedSet):
        return list(value._unsorted_args)
    return None


def _relate_sets(gold: Any, answer: Any) -> Match:
    if isinstance(gold, sympy.FiniteSet) and isinstance(answer, sympy.FiniteSet):
        return _relate_unordered(list(gold.args), list(answer.args))
    if isinstance(gold, sympy.Interval) and isinstance(answer, sympy.Interval):
        if (gold.left_open, gold.right_open) != (answer.left_open, answer.right_open):
            return Match.DIFFERENT
        return _both([_relate_values(gold.start, answer.start), _relate_values(gold.end, answer.end)])
    ours, theirs = _ordered(gold), _ordered(answer)
    if ours is not None and theirs is not None:
        if len(ours) != len(theirs):
            return Match.DIFFERENT
        result = _both([_relate(left, right) for left, right in zip(ours, theirs, strict=True)])
        is_mixed = isinstance(gold, sympy.FiniteSet) or isinstance(answer, sympy.FiniteSet)
        if result is Match.DIFFERENT and is_mixed and _relate_unordered(ours, theirs) is not Match.DIFFERENT:
            return Match.UNKNOWN
        return result
    for one, other in ((gold, answer), (answer, gold)):
        if isinstance(one, sympy.FiniteSet) and isinstance(other, sympy.Expr):
            return _relate(one.args[0], other) if len(one.args) == 1 else Match.DIFFERENT
    if isinstance(gold, sympy.Set) and isinstance(answer, sympy.Set):
        return _relate_regions(gold, answer)
    return Match.DIFFERENT if _is_number(gold) or _is_number(answer) else Match.UNKNOWN


def _is_number(value: Any) -> bool:
    return isinstance(value, sympy.Expr) and bool(value.is_number)


def _relate_regions(gold: Any, answer: Any) -> Match:
    if gold == answer:
        return Match.SAME
    if isinstance(gold, sympy.Union) and isinstance(answer, sympy.Union) and len(gold.args) == len(answer.args):
        parts = [_relate_sets(left, right) for left, right in zip(gold.args, answer.args, strict=True)]
        if _both(parts) is Match.SAME:
            return Match.SAME
    try:
        difference = gold.symmetric_difference(answer)
        if difference.is_empty is not None:
            return _match(bool(difference.is_empty))
    except Exception:
        return Match.UNKNOWN
    return Match.UNKNOWN


def _relate_unordered(ours: list[Any], theirs: list[Any]) -> Match:
    if len(ours) != len(theirs):
        return Match.DIFFERENT
    named = [{str(pair[0]): pair[1] for value in side if (pair := _assigned(value))} for side in (ours, theirs)]
    if len(named[0]) == len(ours) and named[0].keys() == named[1].keys():
        return _both([_relate(value, named[1][name]) for name, value in named[0].items()])
    rest, result = list(theirs), Match.SAME
    for value in ours:
        results = [_relate(value, other) for other in rest]
        if Match.SAME in results:
            rest.pop(results.index(Match.SAME))
        elif Match.UNKNOWN in results:
            rest.pop(results.index(Match.UNKNOWN))
            result = Match.UNKNOWN
        else:
            return Match.DIFFERENT
    return result


def _relate_values(gold: Any, answer: Any) -> Match:
    if not isinstance(gold, sympy.Basic) or not isinstance(answer, sympy.Basic):
        return Match.UNKNOWN
    if gold == answer:
        return Match.SAME
    if sympy.oo in (gold, answer) or -sympy.oo in (gold, answer):
        return Match.DIFFERENT
    if isinstance(gold, sympy.Symbol) != isinstance(answer, sympy.Symbol) and _proposes(gold, answer):
        return Match.SAME if _spelled(gold) == _spelled(answer) else Match.UNKNOWN
    if not isinstance(gold, sympy.Expr) or not isinstance(answer, sympy.Expr):
        return Match.UNKNOWN
    pairs = list(zip(_samples(gold, answer, 0), _samples(gold, answer, 1), strict=True))
    results = [None if None in pair else _relate_numbers(*pair) for pair in pairs]
    known = [result for result in results if result is not None]
    if results[0] is None:
        return Match.SAME if _proposes(gold, answer) and not gold.is_number else Match.UNKNOWN
    if len(pairs) == 1:
        return _relate_rounded(gold, answer, *pairs[0]) if known[0] is Match.DIFFERENT else known[0]
    if Match.DIFFERENT not in results[:_POSITIVE] and Match.DIFFERENT in known:
        return Match.UNKNOWN
    return _both(known)


def _spelled(value: Any) -> str:
    return "".join(sorted(str(value).casefold().replace("*", "").replace("_", "")))


def _relate_numbers(gold: Any, answer: Any) -> Match:
    size = max(abs(gold), abs(answer))
    if size == 0 or abs(gold - answer) <= TOLERANCE * size:
        return Match.SAME
    return Match.UNKNOWN if 0 in (gold, answer) and size < sympy.Float("1e-20") else Match.DIFFERENT


def _relate_rounded(gold: Any, answer: Any, exact: Any, found: Any) -> Match:
    """Two different numbers, of which one may be the other rounded to the digits of a decimal."""
    for decimal, value, rest in ((answer, found, exact), (gold, exact, found)):
        if decimal.atoms(sympy.Float) and value.is_real and rest.is_real and abs(value) < 10**12:
            digits = str(sympy.Float(value, 15)).rstrip("0").partition(".")[2]
            if 0 < len(digits) < 10 and digits.isdigit():
                match = significant_match(_fraction(rest), _fraction(value), len(digits))
                return Match.UNKNOWN if decimal is gold and match is Match.SAME else match
    return Match.DIFFERENT


def _fraction(value: Any) -> Fraction:
    exact = sympy.nsimplify(sympy.Float(value, DIGITS), rational=True)
    return Fraction(int(exact.p), int(exact.q))


def _samples(gold: Any, answer: Any, which: int) -> list[Any]:
    """The values of one side at points shared by both; [None] where it has no finite value."""
    functions = gold.atoms(AppliedUndef) | answer.atoms(AppliedUndef)
    names = {function: sympy.Symbol(str(function)) for function in functions}
    left, right = gold.xreplace(names), answer.xreplace(names)
    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    points = _POINTS if symbols else _POINTS[:1]
    side = right if which else left
    values = []
    for point in points:
        step = sympy.Rational(5, 7) if point > 0 else sympy.Rational(-5, 7)
        place = {symbol: point + step * index**2 for index, symbol in enumerate(symbols)}
        try:
            value = side.subs(place).doit().evalf(DIGITS)
            is_finite = value.is_number and value.is_finite
        except Exception:
            is_finite = False
        values.append(value if is_finite else None)
    return values


def _proposes(gold: Any, answer: Any) -> bool:
    """What the library itself would say; a proposal, since it rounds."""
    try:
        return bool(verify(gold, answer, allow_set_relation_comp=True, timeout_seconds=None))
    except Exception:
        return False
