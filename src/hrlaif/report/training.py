"""The sections on what the arms were trained on and how: data, labels, rewards, fine-tuning, PPO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hrlaif.artifacts import number
from hrlaif.metrics import flip_rate, wilson
from hrlaif.report.data import START, ArmData, LabelCounts, RunData
from hrlaif.report.layout import Cell, Curves, Figure, Histogram, Panel, Section, Stacks, Table
from hrlaif.report.wording import NONE, count, flat, listed, measured, percent, plain, tidy, title_of
from hrlaif.types import Basis, Evaluation, Split, Verdict

BASES = {basis.value: title_of(basis.value).lower() for basis in Basis}
_SPLITS = {Split.TRAIN: "training", Split.EVALUATION: "evaluation"}
PPO = (
    (("reward",), "Reward (score of the reward model)"),
    (("kl",), "KL to the start (nats per response)"),
    (("response_tokens",), "Response length (tokens)"),
    (("entropy",), "Entropy (nats per token)"),
    (("clip_fraction",), "Clip fraction"),
    (("explained_variance",), "Explained variance of the critic"),
    (("held_out_reward",), "Reward on held-out training prompts"),
    (("correct_share",), "Correct among verified responses"),
)


def composition(run: RunData) -> Section:
    """Prompts by category and split, pairs by basis, and what was dropped on the way and why."""
    if not run.prompts and not any(arm.pairs for arm in run.arms.values()):
        return Section("data", "Training data", missing="prompts.jsonl and pairs.jsonl")
    panels, tables = [], []
    if run.prompts:
        by_category = _by(((p.category, p.split.value) for p in run.prompts.values()), ("train", "evaluation"))
        chart = Stacks(
            tuple((tidy(name, 24), row) for name, row in by_category.items()), ("train", "evaluation"), "prompts"
        )
        panels.append(Panel("prompts", "Prompts by category", chart, half=True))
        tables.append(_count_table("Prompts by category and split.", "Category", by_category, ("train", "evaluation")))
    pairs = {
        arm: {BASES[basis.value]: n for basis, n in data.pairs.items()} for arm, data in run.arms.items() if data.pairs
    }
    if pairs:
        used = _used(pairs, BASES.values())
        panels.append(
            Panel("pairs", "Pairs by basis", Stacks(tuple(pairs.items()), used, "preference pairs"), half=True)
        )
        tables.append(_count_table("Preference pairs by what their label rests on.", "Arm", pairs, used))
    dropped = {arm: {str(k): int(v) for k, v in data.dropped.items()} for arm, data in run.arms.items() if data.dropped}
    if dropped:
        reasons = tuple(dict.fromkeys(reason for row in dropped.values() for reason in row))
        rows = tuple(
            plain((tidy(reason), *(dropped.get(arm, {}).get(reason, 0) for arm in run.arms))) for reason in reasons
        )
        tables.append(Table("What made no pair, by reason.", ("Reason", *run.arms), rows))
    train = sum(prompt.split is Split.TRAIN for prompt in run.prompts.values())
    made = listed([f"{sum(data.pairs.values()):,} ({arm})" for arm, data in run.arms.items()])
    caption = (
        f"Left: {count(len(run.prompts))} prompts, of which {count(train)} train. Right: preference pairs for the "
        f"reward model by what their label rests on; {made}. Counts, not samples."
    )
    lead = (
        f"{count(run.responses)} training responses were sampled from the start and shared by the arms."
        if run.responses
        else ""
    )
    return Section(
        "data",
        "Training data",
        lead=(lead,) if lead else (),
        figures=(Figure(caption, tuple(panels)),) if panels else (),
        tables=tuple(tables),
    )


def _by(rows: Iterable[tuple[str, str]], columns: Iterable[str]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for name, column in rows:
        counts.setdefault(name, Counter())[column] += 1
    names = tuple(columns)
    return {name: {column: row[column] for column in names} for name, row in counts.items()}


def _used(rows: Mapping[str, Mapping[str, int]], columns: Iterable[str]) -> tuple[str, ...]:
    return tuple(column for column in columns if any(row.get(column) for row in rows.values()))


def _count_table(caption: str, first: str, rows: Mapping[str, Mapping[str, int]], columns: tuple[str, ...]) -> Table:
    cells = tuple(plain((name, *(row.get(c, 0) for c in columns), sum(row.values()))) for name, row in rows.items())
    return Table(caption, (first, *(title_of(column) for column in columns), "Total"), cells)


def labels(run: RunData) -> Section:
    """The arms' labels side by side: what they rest on, ties, unreadable ones, verdicts that flip with the order."""
    arms = {arm: data.labels for arm, data in run.arms.items() if data.labels}
    if not arms:
        return Section("labels", "Labels", missing="labels.jsonl of an arm")
    kinds = ("decided", "tie", "unreadable")
    rows = [(arm, BASES[basis.value], counts) for arm, found in arms.items() for basis, counts in found.items()]
    bars = tuple((f"{arm} · {basis}", _kinds(counts)) for arm, basis, counts in rows)
    n = listed([f"{sum(counts.n for counts in found.values()):,} ({arm})" for arm, found in arms.items()])
    caption = (
        f"Labels by arm and by what they rest on: {n}. Decided: one response is better; a tie and an unreadable "
        "verdict make no pair."
    )
    table = tuple(
        (*plain((arm, basis, counts.n, *_kinds(counts).values())), _flips(counts.orders)) for arm, basis, counts in rows
    )
    columns = ("Arm", "Basis", "Labels", *(kind.capitalize() for kind in kinds), "Flips with the order")
    return Section(
        "labels",
        "Labels",
        points=tuple(_routing(arm, found) for arm, found in arms.items()),
        figures=(Figure(caption, (Panel("labels", "Labels by basis", Stacks(bars, kinds, "labels")),)),),
        tables=(Table("Table: labels by basis and outcome", columns, table), *_voters(rows)),
    )


def _voters(rows: Sequence[tuple[str, str, LabelCounts]]) -> tuple[Table, ...]:
    """A panel's members, each with the votes that dropped out because one order or both could not be read."""
    cells = tuple(
        (
            *plain(
                (arm, basis, judge, found.total(), sum(n for pair, n in found.items() if Verdict.UNREADABLE in pair))
            ),
            _flips(found),
        )
        for arm, basis, counts in rows
        if len(counts.by_judge) > 1
        for judge, found in counts.by_judge.items()
    )
    columns = ("Arm", "Basis", "Judge", "Votes", "Dropped out", "Flips with the order")
    return (Table("Table: votes of each judge of the panel", columns, cells),) if cells else ()


def _kinds(counts: LabelCounts) -> dict[str, int]:
    verdicts = counts.verdicts
    decided = verdicts[Verdict.FIRST] + verdicts[Verdict.SECOND]
    return {"decided": decided, "tie": verdicts[Verdict.TIE], "unreadable": verdicts[Verdict.UNREADABLE]}


def _flips(orders: Counter[tuple[Verdict, Verdict]]) -> Cell:
    metric = flip_rate(orders.elements())
    return measured(metric) if metric.n else Cell(NONE, "not asked in both orders")


def _routing(arm: str, found: Mapping[Basis, LabelCounts]) -> str:
    n, calls = sum(counts.n for counts in found.values()), sum(counts.calls for counts in found.values())
    if (votes := found.get(Basis.HUMAN)) and votes.n == n:
        return f"{arm}: {count(n)} labels by people, {calls / n:.2f} votes per label."
    ruled = found[Basis.VERIFIER].n if Basis.VERIFIER in found else 0
    return (
        f"{arm}: {count(n)} labels, {percent(ruled / n)} decided by the rule verifier, {calls / n:.2f} preference "
        "calls per label."
    )


def distributions(run: RunData) -> Section:
    """Scores of the start's and the arm's answers by the arm's own reward model, on both splits."""
    panels, rows = [], []
    for arm in run.arms:
        for split in Split:
            scored = [row for row in run.rows(split) if row.arm == arm and row.reward is not None]
            after = tuple(row.reward for row in scored if row.reward is not None)
            before = tuple(row.start_reward for row in scored if row.start_reward is not None)
            if not after or not before:
                continue
            chart = Histogram({START: before, arm: after}, f"score by the {arm} reward model")
            title = f"{arm}, {_SPLITS[split]} prompts"
            panels.append(Panel(f"rewards-{arm}-{split.value}", title, chart, half=True))
            rows.append(plain((arm, _SPLITS[split], len(after), _median(before), _median(after), _higher(scored))))
    if not panels:
        return Section("rewards", "Reward before and after", missing="evaluation.jsonl with reward scores")
    caption = (
        "Scores of the start's answers and of the trained policy's answers to the same prompts, both by that arm's own "
        "reward model; dashed: medians. Scores of two reward models cannot be compared with each other."
    )
    columns = ("Arm", "Prompts", "n", "Median, start", "Median, arm", "Arm scores higher")
    return Section(
        "rewards",
        "Reward before and after",
        figures=(Figure(caption, tuple(panels)),),
        tables=(
            Table("Medians, and the share of prompts on which the arm's answer scores higher.", columns, tuple(rows)),
        ),
        notes=(
            "A reward that rises while satisfaction does not is over-optimisation: the policy has learnt the scorer.",
        ),
    )


def _median(values: tuple[float, ...]) -> str:
    ordered = sorted(values)
    middle = len(ordered) // 2
    value = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return f"{value:.2f}"


def _higher(scored: Sequence[Evaluation]) -> Cell:
    both = [(r.reward, r.start_reward) for r in scored if r.reward is not None and r.start_reward is not None]
    share = wilson(sum(reward > start for reward, start in both), len(both), name="higher")
    return measured(share if both else None)


def fine_tuning(run: RunData) -> Section | None:
    """The loss of the fine-tuning that made the start, and what it did to held-out demonstrations; None without one."""
    if not run.config.sft.sources:
        return None
    line = curve(run.sft_steps, ("loss",))
    if not line:
        return Section("sft", "Fine-tuning", missing="sft/metrics.jsonl")
    caption = (
        f"Loss per response token on the demonstrations of each of {count(len(line))} steps, before the step's update. "
        "The result is the start of everything after it."
    )
    panel = Panel("sft-loss", "Loss (nats per token)", Curves({START: line}, "training step"))
    rows = tuple(plain(row) for row in flat(run.sft_summary))
    return Section(
        "sft",
        "Fine-tuning",
        figures=(Figure(caption, (panel,)),),
        tables=(Table("Summary of the training; held out: before and after.", ("", "Value"), rows),) if rows else (),
    )


def ppo(run: RunData) -> Section:
    """PPO's curves, all arms in each panel."""
    panels = []
    for keys, title in PPO:
        lines = {arm: line for arm, data in run.arms.items() if (line := curve(data.policy_steps, keys))}
        if lines:
            panels.append(Panel(f"ppo-{keys[0].replace('_', '-')}", title, Curves(lines, "PPO step"), half=True))
    if not panels:
        return Section("ppo", "PPO", missing="policy/metrics.jsonl of an arm")
    steps = listed([f"{len(data.policy_steps):,} ({arm})" for arm, data in run.arms.items() if data.policy_steps])
    caption = (
        f"One value per PPO step, the mean over that step's rollouts; steps: {steps}. No interval: one run per arm."
    )
    return Section(
        "ppo",
        "PPO",
        figures=(Figure(caption, tuple(panels)),),
        tables=(*(_steps_table(arm, data) for arm, data in run.arms.items() if data.policy_steps), *_summaries(run)),
    )


def curve(steps: tuple[Mapping[str, Any], ...], keys: tuple[str, ...]) -> tuple[tuple[float, float], ...]:
    """(step, value) for the first of the keys that the steps hold; steps without a number are left out."""
    for key in keys:
        found = tuple(
            (float(row.get("step", index)), value)
            for index, row in enumerate(steps)
            if (value := number(row.get(key))) is not None
        )
        if found:
            return found
    return ()


def _steps_table(arm: str, data: ArmData) -> Table:
    """At most about twenty steps, evenly spaced, the last one always among them."""
    stride = max(1, len(data.policy_steps) // 20)
    kept = [row for i, row in enumerate(reversed(data.policy_steps)) if i % stride == 0][::-1]
    columns = tuple(key for key in kept[-1] if number(kept[-1][key]) is not None)
    rows = tuple(tuple(Cell(_short(row.get(key))) for key in columns) for row in kept)
    return Table(f"{arm}: every step" if stride == 1 else f"{arm}: one step in {stride}", columns, rows)


def _short(value: Any) -> str:
    found = number(value)
    return NONE if found is None else count(found) if found == int(found) and abs(found) < 1e9 else f"{found:.4g}"


def _summaries(run: RunData) -> tuple[Table, ...]:
    return tuple(
        Table(f"{arm}: summary of the training.", ("", "Value"), tuple(plain(row) for row in flat(data.policy_summary)))
        for arm, data in run.arms.items()
        if data.policy_summary
    )
