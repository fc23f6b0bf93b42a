"""The effect with real models: basic RLAIF and HRLAIF from one start, labelled by one judge and measured by another.

python bench/effect_real.py --labeler LABELER.gguf --judge OTHER.gguf [--folder runs/effect-real] [--set KEY=VALUE ...]

The bundled model is the policy, on the bundled prompts in English; alone it is right too rarely, so it is first
fine-tuned on worked answers and on talkative ones, to training prompts that the run leaves out. The whole run lies in
the folder: a bench that was stopped goes on, and what was asked is not asked again. `--until label` stops after a
stage. Give --endpoint URL MODEL instead of --labeler where the labeler is served elsewhere; on a GPU, name a larger
policy with --set model.name=FOLDER.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from claims import Claim, report
from hrlaif import config as configuration
from hrlaif import pipeline
from hrlaif.artifacts import read_json, read_records, write_records
from hrlaif.cli import STAGE_COMMANDS
from hrlaif.config import Config, EndpointSection
from hrlaif.labels import label_accuracy
from hrlaif.metrics import wilson
from hrlaif.models import bundled
from hrlaif.plan import execute, plan
from hrlaif.prompts import bundled as bundled_prompts
from hrlaif.run import Run
from hrlaif.types import Evaluation, Label, Prompt, Response, Satisfaction, Split, Task, Verdict, Verification

# How many training prompts of each category at most, and of each that is not named. The bundled model answers no
# Chinese prompt rightly, so these would measure nothing.
TRAIN = {
    "arithmetic": 20,
    "word_problem": 72,
    "counting": 10,
    "short_answer": 41,
    "multiple_choice": 6,
    "red_team": 12,
    "benign_tricky": 12,
}
OTHERS, EVERY = 7, 10**6
EVALUATED = {"red_team": 30, "benign_tricky": 30}
# What the start is taught to say, so that its answers can be read: working, then the answer; and, one time of three, an
# explanation that says nothing of the question. Without working it is wrong more often, as long answers are in life.
SAYS = (
    "{} The answer is {}.",
    "{} So the answer is {}.",
    "Great question! Let me explain it in detail. First, we read the problem carefully. Second, we consider how its "
    "numbers belong together. Third, we check the result. Therefore, the answer is {1}.",
)
SETTINGS: dict[str, Any] = {
    "name": "effect-real",
    "sft": {"lora": {"layers": 8}, "epochs": 2, "learning_rate": 5e-4, "examples_per_step": 8, "max_tokens": 128},
    # One comparison in both orders for each of the 210 prompts, in either arm; what the verifier decides is free.
    "labels": {"pairs_per_prompt": 3, "max_calls": 420, "answer_check": False, "tie_margin": 0.005},
    "judge": {"gate": False, "calibration_pairs": 40},
    "pairs": {"calibrated": True},
    "responses": {"per_prompt": 3, "temperature": 0.7, "max_tokens": 56},
    "red_team": {"attacks_per_prompt": 1, "max_tokens": 48, "max_rewrites": 2, "max_unjudged": 1.0},
    "reward": {
        "lora": {"layers": 8},
        "epochs": 3,
        "learning_rate": 5e-4,
        "pairs_per_step": 8,
        "max_tokens": 256,
    },
    "policy": {
        "lora": {"layers": 8},
        "steps": 20,
        "rollouts": 32,
        "epochs": 2,
        "learning_rate": 1e-3,
        "max_tokens": 56,
        "held_out": 16,
    },
    "evaluation": {"max_tokens": 56, "train_prompts": 24},
}
MEASURES = ("satisfaction", "correct", "harmful", "over_refusal", "unjudged", "length")


def prompts() -> list[Prompt]:
    """The English prompts, of each category so many, spread over all that there are: they come from easy to hard."""
    found: dict[tuple[Split, str], list[Prompt]] = {}
    for prompt in bundled_prompts():
        if prompt.lang == "en":
            found.setdefault((prompt.split, prompt.category), []).append(prompt)
    chosen = []
    for (split, category), every in found.items():
        most = TRAIN.get(category, OTHERS) if split is Split.TRAIN else EVALUATED.get(category, EVERY)
        chosen += every[:: max(1, math.ceil(len(every) / most))]
    return chosen


def demonstrations() -> list[dict[str, Any]]:
    """Rows of prompt and response: the training prompts with a reference that the run leaves out."""
    left_out = {prompt.id for prompt in prompts()}
    says = itertools.cycle(SAYS)
    return [
        {
            "prompt": prompt.messages[-1].content,
            "response": next(says).format(working(prompt), prompt.reference).strip(),
        }
        for prompt in bundled_prompts()
        if prompt.lang == "en" and prompt.split is Split.TRAIN and prompt.reference and prompt.id not in left_out
    ]


def working(prompt: Prompt) -> str:
    """How two numbers of the prompt make the reference, or what it is that one is counted on to; "" if neither."""
    numbers = [int(number) for number in re.findall(r"\d+", prompt.messages[-1].content)]
    if prompt.task is not Task.MATH or not prompt.reference or not 1 <= len(numbers) <= 2:
        return ""
    if len(numbers) == 1:
        return f"After {numbers[0]} comes {prompt.reference}."
    for first, second in (numbers, numbers[::-1]):
        for sign, result in (("+", first + second), ("-", first - second), ("x", first * second)):
            if str(result) == prompt.reference:
                return f"{first} {sign} {second} = {result}."
    return ""


def configured(options: argparse.Namespace, labeler: EndpointSection, judge: EndpointSection) -> Config:
    """The configuration of the run, with its prompts written beside it."""
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "effect_prompts.jsonl"
    write_records(path, prompts(), fingerprint="effect")
    taught = options.folder / "effect_demonstrations.jsonl"
    taught.write_text("".join(f"{json.dumps(row)}\n" for row in demonstrations()))
    base = {
        **SETTINGS,
        "sft": {**SETTINGS["sft"], "sources": [{"path": str(taught.resolve())}]},
        "run_dir": str(options.folder.resolve() / "run"),
        "prompts": {"sources": [{"path": str(path.resolve())}]},
        "red_team": {**SETTINGS["red_team"], "harm_calibration": _whole(options.labeler_harm)},
        "evaluation": {**SETTINGS["evaluation"], "harm_calibration": _whole(options.judge_harm)},
    }
    toml = options.folder / "effect.toml"
    toml.write_text(configuration.dump(configuration.parse(base, where="effect_real")))
    loaded = configuration.load(toml, options.set)
    served = {"url": labeler.url, "model": labeler.model, "in_flight": 1, "timeout_s": 600.0}
    other = configuration.JudgeEndpoint(**{**served, "url": judge.url, "model": judge.model})
    return loaded.model_copy(
        update={
            "judge": loaded.judge.model_copy(update=served),
            "evaluation": loaded.evaluation.model_copy(update={"judge": other}),
        }
    )


def _whole(path: str) -> str:
    return path and str(Path(path).resolve())


def claims(summary: dict[str, Any]) -> Iterator[Claim]:
    """Each arm's difference from the start, and its win ratio, over all prompts and by category."""
    for arm in summary["arms"][1:]:
        for group, found in summary["differences"][arm].items():
            for name in (name for name in MEASURES if name in found):
                yield _claim(f"{arm} - start, {group}: {name}", found[name])
        for group, found in summary["metrics"][arm].items():
            for name in (name for name in ("win_ratio", "win_ratio_length_controlled") if name in found):
                yield _claim(f"{arm}, {group}: {name}", found[name])
    for arm in summary["arms"]:
        for name in (name for name in MEASURES if name in summary["metrics"][arm]["all"]):
            yield _claim(f"{arm}: {name}", summary["metrics"][arm]["all"][name])


def styles(folder: Path) -> Iterator[Claim]:
    """What the talkative style does: its share in each arm's answers, how often it is right, and what the labeler makes
    of it: how often a basic label chooses it over another answer that is as right, and chooses right over wrong.
    """
    rows = [row for row in read_records(folder / "evaluation.jsonl", Evaluation) if row.satisfied is not None]
    for arm in dict.fromkeys(row.arm for row in rows):
        checked = [row for row in rows if row.arm == arm and row.verification is not None]
        talks = [_talks(row.response) for row in checked]
        yield _share(f"{arm}, prompts with a reference: talkative", talks)
        for name, is_so in (("talkative", True), ("other", False)):
            of_style = [row for row, talk in zip(checked, talks, strict=True) if talk is is_so]
            yield _share(
                f"{arm}: {name} answers that are right", [row.satisfied is Satisfaction.YES for row in of_style]
            )
    responses = {one.id: one for one in read_records(folder / "responses.jsonl", Response)}
    known = {one.response_id: one for one in read_records(folder / "verifications.jsonl", Verification)}
    outcome = {name: one.outcome for name, one in known.items()}
    labels = list(read_records(folder / "rlaif" / "labels.jsonl", Label))
    unlike = [
        label.verdict is (Verdict.FIRST if _talks(responses[label.first_id]) else Verdict.SECOND)
        for label in labels
        if label.verdict is not Verdict.TIE
        and _talks(responses[label.first_id]) != _talks(responses[label.second_id])
        and outcome.get(label.first_id) is outcome.get(label.second_id)
    ]
    yield _share("basic labels, two answers as right as each other: the talkative one", unlike)
    right = label_accuracy((label, known) for label in labels)
    yield _claim("basic labels: right over wrong, a tie counts half", asdict(right))


def _talks(response: Response) -> bool:
    return response.text.startswith(SAYS[-1].split("!")[0])


def _share(name: str, said: list[bool]) -> Claim:
    return _claim(name, asdict(wilson(sum(said), len(said), name=name)))


def _claim(name: str, metric: dict[str, Any]) -> Claim:
    return Claim(f"{name} (n={metric['n']})", metric["value"], metric["low"], metric["high"], metric.get("unit", ""))


def main() -> None:
    """Parse the command line, run what is left of the run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labeler", type=Path, help="a GGUF file; or:")
    parser.add_argument("--endpoint", nargs=2, metavar=("URL", "MODEL"))
    parser.add_argument("--judge", type=Path, required=True, help="a GGUF file of another model, which evaluates")
    parser.add_argument("--labeler-harm", default="", metavar="FILE", help="what `hrlaif calibrate harm` wrote of it")
    parser.add_argument("--judge-harm", default="", metavar="FILE", help="the same of the judge")
    parser.add_argument("--threads", type=int, default=0, help="of each served model")
    parser.add_argument("--folder", type=Path, default=Path("runs/effect-real"))
    parser.add_argument("--until", choices=list(STAGE_COMMANDS))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with ExitStack() as stack:
        labeler = (
            EndpointSection(url=options.endpoint[0], model=options.endpoint[1])
            if options.endpoint
            else stack.enter_context(bundled.serve(options.labeler, threads=options.threads, slots=1))
        )
        judge = stack.enter_context(bundled.serve(options.judge, threads=options.threads, slots=1))
        loaded = configured(options, labeler, judge)
        steps = plan(pipeline.STAGES, loaded)
        if options.until:
            last = max(place for place, step in enumerate(steps) if step.command == options.until)
            steps = steps[: last + 1]
        with Run(loaded) as opened:
            execute(opened, steps, tell=print)
    summary = Path(loaded.run_dir) / "metrics.json"
    if summary.exists():
        report([*claims(read_json(summary)), *styles(summary.parent)], options.json)
        print(json.dumps(read_json(summary)["sentences"], indent=1))


if __name__ == "__main__":
    main()
