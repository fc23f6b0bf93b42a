r"""Reads one written quantity (12, 1,234.5, 3 1/2, \frac{3}{4}, 28%, $5, 1.2e3, twelve, 三分之一, 12元) exactly.

Everything is exact (`Fraction`); exponents are bounded, so that no input can make a number of a billion digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from hrlaif.verifiers.notation import latex

MAX_EXPONENT = 400
MAX_DIGITS = 1000


class Match(str, Enum):
    """How a found value relates to the reference. UNKNOWN: neither equality nor difference is certain."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Quantity:
    """An exact value with what was written around it.

    `value` counts a percent sign as 1/100 and a scale word ("million") as its factor; `written` is the value without
    either. `decimals` is the number of digits after the decimal point, None where it was not written as a decimal.
    `is_doubtful`: the unit is one letter glued to the number and might be a variable (5m).
    """

    value: Fraction
    written: Fraction
    unit: str = ""
    is_percent: bool = False
    decimals: int | None = None
    is_doubtful: bool = False


_NUMBER = r"(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|[1-9]\d{0,2}(?: \d{3})+(?![\d/.,])|\d+(?:\.\d*)?|\.\d+)"
_CURRENCY = r"(?:US\$|USD|RMB|HK\$|[$€£¥₹￥])"
_SCIENCE = r"(?:\s*(?:\\times|\\cdot|x|X|\*)\s*10\s*\^\s*\{?\s*([-+]?\d{1,6})\s*\}?|[eE]([-+]?\d{1,6}))"
_PLAIN = re.compile(rf"([-+]?)\s*{_CURRENCY}?\s*([-+]?)\s*({_NUMBER}){_SCIENCE}?")
_POWER = re.compile(r"([-+]?)\s*10\s*\^\s*\{?\s*([-+]?\d{1,6})\s*\}?")
_REPEATING = re.compile(r"([-+]?)\s*(\d*)\.(\d*)\\overline\s*\{(\d+)\}")
_RATIO = re.compile(
    rf"([-+]?)\s*{_CURRENCY}?\s*(?:(\d+)\s*(?:又|and)?\s*)?"
    r"(?:\\frac\s*\{\s*([-+]?[\d.,]+)\s*\}\s*\{\s*([-+]?[\d.,]+)\s*\}"
    r"|(?<![\d.])(\d[\d,]*(?:\.\d+)?)\s*/\s*(\d[\d,]*(?:\.\d+)?))"
)
_PERCENT = re.compile(r"\s*(?:%|percent(?:age)?(?: points?)?\b|per cent\b|pct\b)", re.I)
_CN_PERCENT = re.compile(r"百分之")
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
           "百": 100, "千": 1000, "万": 10**4, "亿": 10**8}  # fmt: skip
_SCALE = re.compile(
    r"\s*(hundred|thousand|million|billion|trillion|dozen|百|千(?![米克瓦升卡])|万|亿)s?(?![a-z])", re.I
)
_UNIT = re.compile(
    r"\s*([a-zA-Z°'\"㎡\u4e00-\u9fff](?:[a-zA-Z°'\" ./()\-\u4e00-\u9fff]|\^\s*\{?\s*[23]\s*\}?"
    r"|(?<=[a-z])[23](?!\d))*)?[\s.,;:?。、)\]*]*"
)
_NOT_UNITS = frozenset(
    "or and to plus minus times over divided by not more less than if but either "
    "sqrt pi sin cos tan log ln exp e i n k st nd rd th".split()
)
_LETTER_UNITS = frozenset("m g s h l L A V W J N K C F B b a".split())
_NOT_CN_UNITS = re.compile(
    r"[或和与到至加减乘除零一二三四五六七八九十百万亿两不是样]|千(?![米克瓦升卡])|分之|[\u4e00-\u9fff]{9}"
)
_FRACTION_NAMES = frozenset(
    "half halves third thirds quarter quarters fourth fourths fifth fifths sixth sixths "
    "eighth eighths tenth tenths".split()
)
_CN_DIGITS = {digit: value for value, digit in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_CN_UNITS = {"十": 10, "百": 100, "千": 1000}
_CN_NUMBER = re.compile(r"([负]?)([零〇一二三四五六七八九两十百千万]+)(?:点([零〇一二三四五六七八九]+))?")
_CN_RATIO = re.compile(
    r"(?:([零一二三四五六七八九两十百\d]+)又)?([零一二三四五六七八九两十百\d]+)分之([零一二三四五六七八九两十百\d.]+)"
)
_WORDS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen".split()
    )
}
_TENS = {
    word: 20 + 10 * index for index, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split())
}
_WORD = re.compile(r"(minus |negative )?([a-z]+)(?:[- ]([a-z]+))?(?![a-z])", re.I)
_UNIT_NAMES = {
    "usd": "dollar", "dollars": "dollar", "$": "dollar", "美元": "dollar", "cents": "cent", "yuan": "元", "rmb": "元",
    "centimeter": "cm", "centimetre": "cm", "meter": "m", "metre": "m", "kilometer": "km", "kilometre": "km",
    "millimeter": "mm", "gram": "g", "kilogram": "kg", "second": "s", "sec": "s", "minute": "min", "hour": "h",
    "hr": "h", "liter": "l", "litre": "l", "inch": "in", "inches": "in",
    "feet": "ft", "foot": "ft", "pound": "lb", "ounce": "oz",
    "厘米": "cm", "米": "m", "千米": "km", "公里": "km", "毫米": "mm", "克": "g", "千克": "kg", "公斤": "kg", "秒": "s",
    "分钟": "min", "小时": "h", "升": "l", "degree": "°", "度": "°", "mph": "miles per hour",
}  # fmt: skip
_MEASURES = frozenset("cm m km mm g kg s min h l ml in ft lb oz dollar cent 元 day week month year 天 周 月 年".split())


def quantity(text: str) -> Quantity | None:
    """The quantity that `text` writes, the whole of it; None where it writes anything else or anything more."""
    text = latex(text).lstrip(" ,;:*").rstrip(" .,;:?。*")
    if not text or len(text) > MAX_DIGITS:
        return None
    read = _ratio(text) or _decimal(text) or _chinese(text) or _english(text)
    if read is None:
        return None
    written, decimals, end = read
    scale = Fraction(1)
    rest = text[end:]
    if found := _PERCENT.match(rest):
        rest, scale = rest[found.end() :], Fraction(1, 100)
        is_percent = True
    elif text.startswith("百分之"):
        scale, is_percent = Fraction(1, 100), True
    else:
        is_percent = False
        if found := _SCALE.match(rest):
            rest, scale = rest[found.end() :], Fraction(_SCALES[found.group(1).lower()])
    unit = _unit(rest, text)
    if unit is None:
        return None
    is_doubtful = len(unit) == 1 and unit.isascii() and unit.isalpha() and not rest[:1].isspace()
    return Quantity(written * scale, written, unit, is_percent, decimals, is_doubtful)


def compare(reference: Quantity, found: Quantity) -> Match:
    """Whether two quantities are the same answer.

    Rounding is not equality: a decimal that is the reference cut to five or more significant digits is SAME, to two to
    four UNKNOWN. A missing unit or percent sign on one side is forgiven, two different measures never are.
    """
    if reference.unit and found.unit and _unit_name(reference.unit) != _unit_name(found.unit):
        both = {_unit_name(reference.unit), _unit_name(found.unit)}
        if both <= _MEASURES or reference.value == found.value:
            return Match.UNKNOWN
    pairs = [(reference.value, found.value)]
    if reference.is_percent != found.is_percent:
        plain = found if reference.is_percent else reference
        if abs(plain.written) >= 1 or plain.written == 0:
            pairs.append((reference.written, found.written))
    results = [_compare_values(left, right, reference.decimals, found.decimals) for left, right in pairs]
    if Match.SAME in results:
        return Match.UNKNOWN if found.is_doubtful and not reference.unit else Match.SAME
    if reference.written == found.written or Match.UNKNOWN in results:
        return Match.UNKNOWN
    return Match.DIFFERENT


def significant_match(exact: Fraction, rounded: Fraction, decimals: int) -> Match:
    """Whether a decimal with that many decimals is `exact` rounded: SAME from five significant digits on."""
    if abs(exact - rounded) * 2 > Fraction(1, 10**decimals):
        return Match.DIFFERENT
    digits = len(str(abs(rounded.numerator) * 10**decimals // rounded.denominator).lstrip("0"))
    return Match.SAME if digits >= 5 else Match.UNKNOWN if digits >= 2 else Match.DIFFERENT


def _compare_values(reference: Fraction, found: Fraction, decimals: int | None, found_decimals: int | None) -> Match:
    if reference == found or abs(reference - found) * 10**9 <= abs(reference):
        return Match.SAME
    if found_decimals and not _terminates(reference):
        return significant_match(reference, found, found_decimals)
    if decimals and (found_decimals is None or found_decimals > decimals):
        match = significant_match(found, reference, decimals)
        return Match.UNKNOWN if match is Match.SAME else match
    return Match.DIFFERENT


def _terminates(value: Fraction) -> bool:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def _number(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace(" ", "").rstrip("."))


def _signed(value: Fraction, *signs: str | None) -> Fraction:
    return -value if sum(sign == "-" for sign in signs) % 2 else value


def _ratio(text: str) -> tuple[Fraction, None, int] | None:
    found = _RATIO.match(text)
    if found is None:
        return None
    sign, whole, over, under, over_flat, under_flat = found.groups()
    try:
        value = _number(over or over_flat) / _number(under or under_flat)
    except (ValueError, ZeroDivisionError):
        return None
    return _signed(value + (Fraction(whole) if whole else 0), sign), None, found.end()


def _decimal(text: str) -> tuple[Fraction, int | None, int] | None:
    if found := _REPEATING.match(text):
        sign, whole, fixed, loop = found.groups()
        value = Fraction(
            int(whole + fixed + loop or 0) - int(whole + fixed or 0), 10 ** len(fixed) * (10 ** len(loop) - 1)
        )
        return _signed(value, sign), None, found.end()
    if found := _POWER.match(text):
        sign, power = found.groups()
        return (
            None if abs(int(power)) > MAX_EXPONENT else (_signed(Fraction(10) ** int(power), sign), None, found.end())
        )
    found = _PLAIN.match(text)
    if found is None:
        return None
    outer, inner, digits, power, short_power = found.groups()
    exponent = int(power or short_power or 0)
    if abs(exponent) > MAX_EXPONENT:
        return None
    fraction_digits = len(digits.partition(".")[2])
    decimals = max(0, fraction_digits - exponent) if fraction_digits or exponent else None
    return _signed(_number(digits) * Fraction(10) ** exponent, outer, inner), decimals, found.end()


def _chinese_integer(text: str) -> int | None:
    if text.isascii() and text.isdigit():
        return int(text)
    if len(text) > 40:
        return None
    if all(character in _CN_DIGITS for character in text) and (len(text) == 1 or "两" not in text):
        return int("".join(str(_CN_DIGITS[character]) for character in text))
    total = section = digit = 0
    for character in text:
        if character in _CN_DIGITS:
            if digit:
                return None
            digit = _CN_DIGITS[character]
        elif character == "万":
            total, section, digit = (total + section + digit) * 10**4, 0, 0
        elif character not in _CN_UNITS:
            return None
        else:
            section += (digit or 1) * _CN_UNITS[character]
            digit = 0
    return total + section + digit


def _chinese(text: str) -> tuple[Fraction, int | None, int] | None:
    start = 3 if text.startswith("百分之") else 0
    if found := _CN_RATIO.match(text, start):
        whole, under, over = (_chinese_integer(part) if part else 0 for part in found.groups())
        if under and over is not None and whole is not None and "." not in found.group(3):
            return Fraction(over, under) + whole, None, found.end()
        return None
    if start and (plain := _PLAIN.match(text, start)):
        return _number(plain.group(3)), len(plain.group(3).partition(".")[2]) or None, plain.end()
    found = _CN_NUMBER.match(text, start)
    if found is None or found.group(2)[0] in "百千万":
        return None
    sign, whole_text, tail = found.groups()
    whole_number = _chinese_integer(whole_text)
    if whole_number is None:
        return None
    value = Fraction(whole_number)
    if tail:
        value += Fraction(int("".join(str(_CN_DIGITS[digit]) for digit in tail)), 10 ** len(tail))
    return (-value if sign else value), (len(tail) if tail else None), found.end()


def _english(text: str) -> tuple[Fraction, None, int] | None:
    found = _WORD.match(text)
    if found is None:
        return None
    sign, first, second = found.group(1), found.group(2).lower(), (found.group(3) or "").lower()
    if first in _TENS:
        value, end = _TENS[first], found.end(2)
        if _WORDS.get(second, 0) in range(1, 10) and second in _WORDS:
            value, end = value + _WORDS[second], found.end(3)
    elif first in _WORDS:
        value, end = _WORDS[first], found.end(2)
    else:
        return None
    following = re.match(r"[- ]+([a-z]+)", text[end:], re.I)
    if following is not None and following.group(1).lower() in _FRACTION_NAMES:
        return None
    return Fraction(-value if sign else value), None, end


def _unit(rest: str, whole: str) -> str | None:
    """The unit that follows a number; None where what follows is more than a unit."""
    found = _UNIT.fullmatch(rest)
    if found is None:
        return None
    unit = (found.group(1) or "").strip(" .,;:!?")
    if not unit:
        currency = re.match(rf"[-+]?\s*({_CURRENCY})", whole)
        return currency.group(1) if currency else ""
    words = re.findall(r"[a-zA-Z]+", unit)
    if len(words) > 5 or any(word.lower() in _NOT_UNITS for word in words):
        return None
    if any(len(word) == 1 and word not in _LETTER_UNITS for word in words):
        return None
    return None if _NOT_CN_UNITS.search(unit) else unit


def _unit_name(unit: str) -> str:
    name = unit.lower().strip(" .()")
    name = _UNIT_NAMES.get(name, name)
    if len(name) > 2 and name.endswith("s"):
        name = _UNIT_NAMES.get(name[:-1], name[:-1])
    return name
