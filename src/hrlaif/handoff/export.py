"""A finished run as a folder that another trainer starts from: data, settings, a launch script, a card."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import resources
from itertools import chain, islice
from pathlib import Path
from typing import Any

import jinja2

from hrlaif import artifacts
from hrlaif.config import BUNDLED, Arm, Config
from hrlaif.errors import ConfigError, DataError
from hrlaif.handoff.cards import BUNDLED_ON_HUB, Kind, languages, provenance, size_category
from hrlaif.handoff.rows import pair_row, prompt_row, verl_row
from hrlaif.types import Basis, Pair, Prompt, Split, Task

# Per engine: the data of prompts by split, templates with the names they get, and modules that are copied as they are.
ENGINES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "trl": {
        "prompts": {"train": "prompts.jsonl", "evaluation": "evaluation.jsonl"},
        "templates": {
            "trl_reward.txt": "reward.yaml",
            "trl_dpo.txt": "dpo.yaml",
            "trl_rloo.txt": "rloo.yaml",
            "trl_run.txt": "run.sh",
        },
        "modules": {"client.py": "reward.py"},
    },
    "openrlhf": {
        "prompts": {"train": "prompts.jsonl", "evaluation": "evaluation.jsonl"},
        "templates": {"openrlhf_rm.txt": "train_rm.sh", "openrlhf_ppo.txt": "run.sh"},
        "modules": {"client.py": "reward.py"},
    },
    "verl": {
        "prompts": {"train": "train.parquet", "evaluation": "evaluation.parquet"},
        "templates": {"verl_run.txt": "run.sh"},
        "modules": {"verl_reward.py": "reward.py"},
    },
}
ROWS_PER_GROUP = 1000


def export(run: Path, config: Config, *, engine: str, arm: Arm, out: Path, with_red_team: bool = False) -> Path:
    """Write the folder `out` and return it.

    Pairs of the arm, prompts of both splits, settings and scripts that carry the run's own values over, and a card with
    the counts. Harmful texts stay behind unless `with_red_team`: pairs from red teaming, and red-team prompts.

    Raises:
        ConfigError: The arm is not in the run, `out` holds something, or pyarrow is missing (verl).
        DataError: The arm's pairs are not made yet.
    """
    out = check_target(run, config, arm, out)
    pairs_file, prompts_file = _inputs(run, arm)
    write_rows = _parquet() if engine == "verl" else _write_jsonl
    plan = ENGINES[engine]
    key = artifacts.fingerprint(
        engine, artifacts.file_hash(pairs_file), artifacts.file_hash(prompts_file), with_red_team
    )
    counts = _Counts()
    with artifacts.folder_artifact(out, fingerprint=key, engine=engine, arm=arm, run=run.resolve().name) as folder:
        attacks = _write_prompts(prompts_file, folder, plan["prompts"], write_rows, counts, with_red_team=with_red_team)
        kept = _kept_pairs(pairs_file, attacks, counts, with_red_team=with_red_team)
        _write_jsonl(folder / "pairs.jsonl", (pair_row(pair) for pair in kept))
        values = provenance(run, config, arm) | _values(config, counts, engine=engine, with_red_team=with_red_team)
        values["dropped"] = (artifacts.read_manifest(pairs_file) or {}).get("dropped", {})
        for template, name in {**plan["templates"], f"{engine}_card.txt": "README.md"}.items():
            artifacts.write_atomic(folder / name, filled(template, values).encode())
            if name.endswith(".sh"):
                (folder / name).chmod(0o755)
        for module, name in plan["modules"].items():
            artifacts.write_atomic(folder / name, resources.files(__package__).joinpath(module).read_bytes())
        artifacts.write_json(folder / "counts.json", counts.shown())
    return out


class _Counts:
    """What went into the folder and what stayed behind."""

    def __init__(self) -> None:
        self.kinds: Counter[tuple[str, str]] = Counter()
        self.languages: set[str] = set()
        self.by_basis: Counter[str] = Counter()
        self.by_split: Counter[str] = Counter()
        self.by_source: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()

    def shown(self) -> dict[str, dict[str, int]]:
        named = ("by_basis", "by_split", "by_source", "left_out")
        return {name: dict(sorted(getattr(self, name).items())) for name in named}


def check_target(run: Path, config: Config, arm: Arm, out: Path) -> Path:
    """The folder to write into, as a whole path.

    Raises:
        ConfigError: The run has no such arm, or the folder holds something.
    """
    if arm not in config.arms:
        raise ConfigError(f"{run}: this run has no arm {arm!r}, it has {' and '.join(config.arms)}. Name one of them.")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: is a file. Name a folder to write into.")
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"--out {out}: holds files already, and nothing is overwritten. Name a new folder.")
    return out.resolve()


def _inputs(run: Path, arm: Arm) -> tuple[Path, Path]:
    pairs, prompts = run / arm / "pairs.jsonl", run / "prompts.jsonl"
    for path, stage in ((prompts, "sample"), (pairs, "pairs")):
        if artifacts.read_manifest(path) is None:
            raise DataError(f"{path}: not there yet. Make it with `hrlaif {stage} {run}`, or run the whole flow.")
    return pairs, prompts


def _write_prompts(
    source: Path,
    folder: Path,
    names: Mapping[str, str],
    write_rows: Callable[[Path, Iterable[dict[str, Any]]], None],
    counts: _Counts,
    *,
    with_red_team: bool,
) -> set[str]:
    """Write one file per split; returns the ids of red-team prompts."""
    attacks: set[str] = set()

    def of(split: Split) -> Iterator[dict[str, Any]]:
        index = 0
        for prompt in artifacts.read_records(source, Prompt):
            if prompt.split is not split:
                continue
            if prompt.task is Task.RED_TEAM:
                attacks.add(prompt.id)
                if not with_red_team:
                    counts.left_out[f"{split.value} prompts of red teaming"] += 1
                    continue
            counts.by_split[split.value] += 1
            counts.languages.add(prompt.lang)
            counts.by_source[prompt.source or "not named"] += 1
            yield verl_row(prompt, index) if names["train"].endswith(".parquet") else prompt_row(prompt)
            index += 1

    for split in Split:
        write_rows(folder / names[split.value], of(split))
    if not counts.by_split["train"]:
        raise DataError(f"{source}: no training prompt is left to export. Red-team prompts need --with-red-team.")
    return attacks


def _kept_pairs(source: Path, attacks: set[str], counts: _Counts, *, with_red_team: bool) -> Iterator[Pair]:
    for pair in artifacts.read_records(source, Pair):
        if not with_red_team and (pair.basis is Basis.RED_TEAM or pair.prompt_id in attacks):
            counts.left_out["pairs of red teaming"] += 1
            continue
        counts.by_basis[pair.basis.value] += 1
        counts.kinds[pair.category, pair.basis.value] += 1
        yield pair


def _write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with artifacts.writing_to(path), path.open("wb") as file:
        for row in rows:
            # Half a surrogate pair has no UTF-8 form; as in the run's own files it becomes a question mark.
            file.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def _parquet() -> Callable[[Path, Iterable[dict[str, Any]]], None]:
    """The writer of Parquet files, asked for before anything is written."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ConfigError("verl reads Parquet, and writing it needs pyarrow: pip install 'hrlaif[data]'") from error
    text, turn = pa.string(), pa.struct([("role", pa.string()), ("content", pa.string())])
    info = [("index", pa.int64()), ("split", text), ("id", text), ("task", text), ("question", text)]
    schema = pa.schema(
        [
            ("data_source", text),
            ("prompt", pa.list_(turn)),
            ("ability", text),
            ("reward_model", pa.struct([("style", text), ("ground_truth", text)])),
            ("extra_info", pa.struct([*info, ("choices", pa.list_(text))])),
        ]
    )

    def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
        remaining = iter(rows)
        with artifacts.writing_to(path), pq.ParquetWriter(path, schema) as file:
            for first in remaining:
                group = list(chain([first], islice(remaining, ROWS_PER_GROUP - 1)))
                file.write_table(pa.Table.from_pylist(group, schema=schema))

    return write


def _values(config: Config, counts: _Counts, *, engine: str, with_red_team: bool) -> dict[str, Any]:
    """What the templates may name, besides where the data come from."""
    return {
        "counts": counts,
        "kinds": [Kind(*kind, n) for kind, n in sorted(counts.kinds.items())],
        "bases": sorted(counts.by_basis),
        "languages": languages(counts.languages),
        "size": size_category(sum(counts.by_basis.values())),
        "files": ENGINES[engine]["prompts"],
        "base": BUNDLED_ON_HUB if config.model.name == BUNDLED else config.model.name,
        "pairs": sum(counts.by_basis.values()),
        "policy": config.policy,
        "reward": config.reward,
        "lora": config.policy.lora,
        "seed": config.seed,
        "engine": engine,
        "with_red_team": with_red_team,
        "has_evaluation": counts.by_split["evaluation"] > 0,
        # Passes over the prompts in which as many rollouts are drawn as in the run's own PPO.
        "episodes": -(-config.policy.steps * config.policy.rollouts // counts.by_split["train"]),
    }


def filled(template: str, values: Mapping[str, Any]) -> str:
    """The text of a template with these values."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hrlaif.handoff", "templates"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters["quote"] = lambda value: shlex.quote(str(value))
    environment.filters["json"] = json.dumps
    return environment.get_template(template).render(values)
