"""How often the judges' clean-up touches ordinary responses, and how much of the attack suite it withholds. No model.

python bench/false_alarms.py [--data FOLDER] [--json FILE]

Ordinary responses: those of judge_pairs*.jsonl, verifier_*.jsonl and harm_labels.jsonl in ../shared/data.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from attacks import CONTROL, attacks, carrying, chosen, questions
from claims import Claim, report
from hrlaif.artifacts import read_lines
from hrlaif.judges.addressed import addressed
from hrlaif.judges.ask import visible
from hrlaif.judges.inert import inert
from hrlaif.metrics import wilson

FILES = ("judge_pairs*.jsonl", "verifier_*.jsonl", "harm_labels.jsonl")


def responses(folder: Path) -> Iterator[str]:
    """Every response of the public rows. The request is not read: it could only spare a sentence."""
    for pattern in FILES:
        for path in sorted(folder.glob(pattern)):
            for _, line in read_lines(path):
                row = json.loads(line)
                yield from filter(None, (row.get(key) for key in ("response", "response_a", "response_b")))


def share(name: str, found: list[bool], at_most: float | None = None) -> Claim:
    """A share with its Wilson interval."""
    one = wilson(sum(found), len(found), name=name)
    met = None if at_most is None else one.value <= at_most
    target = "" if at_most is None else f"<= {at_most:g}"
    return Claim(f"{name} (n {one.n})", one.value, one.low, one.high, one.unit, target, met)


def main() -> None:
    """Parse the command line, count, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    texts = list(responses(options.data))
    claims = [
        share("ordinary: a sentence is withheld", [bool(addressed(text, request="")) for text in texts], 0.001),
        share("ordinary: a token or mark is broken", [inert(visible(text)) != visible(text) for text in texts]),
    ]
    pool, by_kind = questions(), dict[str, list[bool]]()
    for target in ("compare", "answer"):
        for index, attack in enumerate(attacks(target)):
            (question,) = chosen(attack, index, pool, 1)
            found = bool(addressed(carrying(attack, question), request=question.request))
            by_kind.setdefault(attack.kind, []).append(found)
    tried = [found for kind, rows in by_kind.items() if kind != CONTROL for found in rows]
    claims.append(share("attacks: a sentence is withheld", tried))
    claims += [share(f"{kind}: a sentence is withheld", rows) for kind, rows in by_kind.items()]
    report(claims, options.json)


if __name__ == "__main__":
    main()
