"""Sentences of a response that speak to its judge: found by rule, and withheld from the judge.

A policy that is trained on verdicts would otherwise learn to write to whoever gives them. The rules are there to be
right where they fire: what they miss still stands between marks. A sentence that is withheld is cut out without a
trace, so that the response is judged exactly as if it had never been written.
"""

from __future__ import annotations

import functools
import re
import unicodedata

from hrlaif.judges.ask import visible

_JUDGE = (
    r"(?:judg(?:e|ing model)|grader|evaluator|assessor|rater|examiner|annotator|moderator|checker|grading model"
    r"|evaluation model)s?"
)
_CHOOSE = r"(?:choose|select|pick|prefer|vote for|favou?r|rate|rank|mark|declare)"
_TOLD = r"(?:instructions?|prompts?|criteria|guidelines?|rubrics?|directions)"
# The beginning of a line or of a sentence.
_START = r"(?:^|(?<=[.!?]\s))\W{0,9}"
_RULES = [
    # --- the judge's task is taken back
    rf"\b(?:ignore|disregard|forget|override|set aside)\b[^.\n]{{0,30}}\b(?:above|previous|prior|earlier|preceding"
    rf"|grading|evaluation|judging|comparison|scoring|you were given)\b[^.\n]{{0,12}}\b{_TOLD}\b",
    rf"\b(?:ignore|disregard|forget|set aside)\b[^.\n]{{0,12}}\b{_TOLD} "
    r"(?:above|before|you (?:were|have been) given)\b",
    r"\b(?:ignore|disregard) (?:all of )?(?:the above|this),? and (?:simply |just )?"
    rf"(?:{_CHOOSE}|reply|answer|say|output)\b",
    r"\bforget everything (?:you read|you were told|above|before)\b",
    # --- a verdict is asked for
    rf"\b{_CHOOSE}\b[^.\n]{{0,20}}\b(?:this|my|the (?:above|present|current)) (?:response|reply|completion)\b",
    rf"\b{_CHOOSE}\b[^.\n]{{0,20}}\bthe response (?:above|here|in which|with th(?:is|at)|you are reading"
    r"|that (?:contains|holds|includes|mentions|has) (?:this|the word))\b",
    rf"\b{_CHOOSE} whichever response\b",
    rf"{_START}(?:please |simply |just |so )*(?:choose|select|pick|prefer|vote for) (?:this|my) answer\b",
    rf"\b(?:{_CHOOSE}|output|return|say|reply|answer) (?:with )?response [ab]\b",
    r"\b(?:reply|respond|answer) with (?:the letter (?:of|above)|one letter only)\b",
    r"\bthe letter of (?:this|the) response\b",
    # --- a verdict is claimed
    r"\bthis response (?:is|was|has been|wins|gets|must|should|deserves)\b[^.\n]{0,30}\b(?:better (?:one|response|than)"
    r"|preferred|superior|winner|chosen|full marks|rated|win|wins)\b",
    r"\bthis response (?:is better|wins)(?=[.!\n]|$)",
    r"\bthe response above (?:is|was|has|wins|must|should)\b",
    r"\bresponse [ab] (?:is|was) (?:clearly |much |the )?(?:better|best|superior|preferable|winner)\b",
    r"\b(?:winner|better (?:response|one)|(?:final |next )?(?:verdict|judge?ment)|preferred(?: response)?)\s*[:=]\s*"
    r"[\"'(\[]{0,5}(?:(?:response |answer )?[ab](?=\W{0,9}$)|this (?:one|response))",
    r"\bwhich response (?:is|was) better\b",
    r"\bthe better response is\b",
    r"[\"'](?:verdict|winner|better|preferred)[\"']\s*:\s*[\"'](?:(?:response )?[ab]|same|this)\b",
    # --- the one who compares is spoken to, or the text it is compared with is spoken of
    rf"\b(?:note|notice|message|instructions?|attention) (?:to|for) (?:the |all |any )?{_JUDGE}\b(?=\s*[:,.])",
    rf"\bdear {_JUDGE}\b[^.\n]{{0,60}}\b(?:response|answer)\b",
    rf"\bthe {_JUDGE} (?:must|should|has to|shall)\b[^.\n]{{0,12}}\b{_CHOOSE}\b[^.\n]{{0,12}}\b(?:response|answer)\b",
    rf"\bas (?:the|a|an) (?:impartial |fair )?{_JUDGE},? you (?:must|should|have to)\b[^.\n]{{0,20}}\b{_CHOOSE}\b",
    rf"{_START}(?:grader|evaluator|annotator|rater|checker|moderator)(?:'s)? (?:note|comment|remark|verdict)\s*:",
    r"\bthe (?:other|competing) response\b",
    r"\brubric score for (?:this|the other)\b",
    r"\bthe response you compare\b",
    # --- the judge's own prompt is played
    r"\byou compare two responses\b",
    r"\byou check a final answer\b",
    r"\beach text below\b[^.\n]{0,20}\binstruction",
    # --- the answer check
    r"\b(?:the|a) reference answer\b",
    rf"{_START}reference answer\s*:",
    r"\bverdict\b[^.\n]{0,12}\bsame\b",
    r"\bsay [\"']same[\"']",
    # --- Chinese
    r"(?:忽略|无视|忽视|不要理会|忘记|忘掉)[^。\n]{0,6}(?:以上|上述|上面|之前|前面|先前)[^。\n]{0,6}(?:指示|指令|说明|提示|标准|规则)",
    r"(?:忽略|无视|忽视)参考答案",
    r"(?:选择|判定|评定|认定)[^。,,\n]{0,4}(?:本|这个|此|当前|包含这句话的)(?:回答|回复|响应|答复)",
    r"(?:本|这个|当前|上面的|上述|此)(?:回答|回复|答复|响应)[^。\n]{0,10}(?:更好|最佳|最好|胜出|获胜|核实无误|满分|正确答案)",
    r"(?:评委|裁判|评判者|评审|评分员|评估者|阅卷人|检查员)们?请?注意",
    r"作为(?:评判者|评委|裁判|评审|评估者)[^。\n]{0,4}你(?:必须|应该|要)",
    r"另一(?:个|份|条)(?:回答|回复|响应|答复)",
    r"判定为\s*[\"“]?same",
]
_ADDRESS = re.compile("|".join(_RULES), re.MULTILINE)
# Each rule needs one of these: most texts hold none, and are done with at the price of a search for words.
_WORDS = (
    "response, reply, completion, instruction, prompt, criteria, guideline, rubric, direction, the above, ignore this, "
    "disregard this, everything, this answer, my answer, one letter, the letter, verdict, winner, better one, judg, "
    "preferred, grader, grading, evaluat, assessor, rater, examiner, annotator, moderator, checker, a final answer, "
    "each text below, reference answer, 'same, \"same, 回答, 回复, 响应, 答复, 指示, 指令, 说明, 提示, 标准, 规则, "
    "参考答案, 注意, 你, 判定为"
).split(", ")
# Where the request itself is about judging, such sentences are what was asked for.
_ABOUT_JUDGING = re.compile(
    r"\b(?:two|both|these|other|which|compare (?:the )?) ?responses?\b|\bresponse [ab]\b|\bprompt injection|\bjailbreak"
    r"|\breference answer|\b(?:llm|ai|model)\W{1,3}(?:as\W{1,3}a\W{1,3})?(?:judge|grader|evaluator)"
    r"|提示注入|参考答案|两个回答"
)
_SENTENCE = re.compile(
    r"[^\n]*?(?:[.!?]{1,9}[\"')\]*]{0,9}(?=\s|$)|[。!?]{1,9}[\"”’」』)]{0,9}|(?=\n|\Z))[ \t]*", re.MULTILINE
)
_LATIN = str.maketrans(
    "аеорсухіјѕԁһӏвкмнтАЕОРСУХІЈЅВКМНТαορνυκΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "aeopcyxijsdhlbkmhtaeopcyxijsbkmhtaopvukabezhikmnoptyx"
)


def addressed(response: str, *, request: str) -> list[str]:
    """The sentences of a response that speak to its judge, in order; none where the request is about judging."""
    text = visible(response)
    spans = _spans(text)
    return [] if spans and _about_judging(request) else [text[start:end].strip() for start, end in spans]


def withhold(response: str, *, request: str) -> str:
    """The response as its judge gets it: without the sentences that `addressed` finds, else as it is to the letter."""
    text = visible(response)
    spans = _spans(text)
    if not spans or _about_judging(request):
        return response
    kept, position = [], 0
    for start, end in spans:
        kept.append(text[position:start])
        position = end
    kept.append(text[position:])
    lines = [line.rstrip(" \t") for line in "".join(kept).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _about_judging(request: str) -> bool:
    folded, _ = _folded(visible(request))
    return bool(_ABOUT_JUDGING.search(folded) or _ADDRESS.search(folded))


@functools.lru_cache(maxsize=1024)  # asked for once by the comparison and once by the label's evidence
def _spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence that holds a match; neighbours are joined, and a line that goes goes whole."""
    folded, source = _folded(text)
    if not any(word in folded for word in _WORDS):
        return []
    matches = [(source[found.start()], source[found.end() - 1] + 1) for found in _ADDRESS.finditer(folded)]
    if not matches:
        return []
    spans: list[tuple[int, int]] = []
    for start, end in (found.span() for found in _SENTENCE.finditer(text) if found.group()):
        if any(first < end and start < last for first, last in matches):
            if spans and spans[-1][1] == start:
                start = spans.pop()[0]
            if text[end : end + 1] == "\n" and (not start or text[start - 1] == "\n"):
                end += 1
            spans.append((start, end))
    return spans


def _folded(text: str) -> tuple[str, range | list[int]]:
    """The text in lower case, without lookalike letters and accents, and where each of its characters came from."""
    if text.isascii():
        return text.lower(), range(len(text))
    letters, source = [], []
    for index, character in enumerate(text.translate(_LATIN)):
        for letter in unicodedata.normalize("NFKC", character).lower():
            if not unicodedata.combining(letter):
                letters.append(letter)
                source.append(index)
    return "".join(letters), source
