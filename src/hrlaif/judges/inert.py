"""Untrusted text made inert: nothing in it acts on the server, or looks like the marks around it."""

from __future__ import annotations

import re

# Control tokens of chat templates, up to their last sign. Servers (llama.cpp among them) read them as tokens in the
# text of a message too: a response could end its turn and open the judge's.
_NAME = r"[^\s<>|｜＜＞\[\]]{1,64}"
_CONTROL_TOKEN = re.compile(
    rf"[<＜](?:[|｜]{_NAME}[|｜]?|{_NAME}[|｜])(?=[>＞])"  # <|im_end|>, <|turn>, <｜Assistant｜>
    r"|<(?:/?s|bos|eos|pad|unk|sop|eop|(?:start|end|beginning)_of_\w{1,32}|seed:\w{1,32}|</?SYS>)(?=>)"
    r"|\[(?:/?(?:INST|THINK|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_[A-Z]{1,12}|MODEL_SETTINGS)|[gs]MASK)(?=\])"
    rf"|\[\|{_NAME}\|(?=\])"
)
# Whatever is broken begins with one of these; most texts hold none, and searching them would cost more.
_FIRST_SIGNS = ("<", "＜", "[")
# A line that could pass for a closing mark, and, in a text that has one, a line that could pass for an opening mark.
_CLOSING = re.compile(r"^([ \t]*)\[([ \t]*/[ \t]*[A-Za-z]{1,20}[ \t]*)\](?=[ \t]*\r?$)", re.MULTILINE)
_OPENING = re.compile(r"^([ \t]*)\[([ \t]*[A-Za-z]{1,20}[ \t]*)\](?=[ \t]*\r?$)", re.MULTILINE)


def inert(text: str) -> str:
    """The text with control tokens and imitated marks broken, by as little as it takes to read the same.

    `<|im_end|>` becomes `<|im_end| >`, which no tokenizer takes for its token; a line `[/code]` becomes `(/code)`.
    Ordinary text stays as it is.
    """
    if not any(sign in text for sign in _FIRST_SIGNS):
        return text
    text = _CONTROL_TOKEN.sub(r"\g<0> ", text)
    if _CLOSING.search(text):
        text = _OPENING.sub(r"\1(\2)", _CLOSING.sub(r"\1(\2)", text))
    return text
