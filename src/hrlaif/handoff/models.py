"""A trained model of a run as a folder to publish: its files without this machine's paths, and a whole model card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

from hrlaif import artifacts
from hrlaif.config import Arm, Config
from hrlaif.errors import DataError
from hrlaif.handoff.cards import composition, languages, measures, provenance
from hrlaif.handoff.export import check_target, filled
from hrlaif.types import Pair, Prompt

Part = Literal["policy", "reward"]
# Files that say something of this machine or of the training only, and no part of the model.
_LEFT_BEHIND = ("manifest.json", "README.md", "events.out")
_TEXT = (".json", ".txt", ".jinja")


def export_model(run: Path, config: Config, *, part: Part, arm: Arm, out: Path) -> Path:
    """Write the folder `out` with an arm's policy or reward model and return it.

    The card is that of the training, with the composition of the training data, the judge's quality, the numbers of
    the evaluation with their intervals, and limits; licence and authors are left to fill in. Where the base model is a
    folder of this machine, it is named `FILL-IN`.

    Raises:
        ConfigError: The arm is not in the run, or `out` holds something.
        DataError: The model is not trained yet.
    """
    out = check_target(run, config, arm, out)
    source = run / arm / part
    manifest = artifacts.read_manifest(source)
    if manifest is None:
        raise DataError(f"{source}: not there yet. Make it with `hrlaif {part} {run}`, or run the whole flow.")
    values = provenance(run, config, arm)
    base = str(artifacts.read_json(source / "summary.json")["base"])
    with artifacts.folder_artifact(out, fingerprint=manifest["fingerprint"], part=part, arm=arm) as folder:
        _copy(source, folder, base=base, shown=values["published_base"])
        front, training = _training_card(source / "README.md", base=base, shown=values["published_base"])
        card = filled("model_card.txt", {**values, **_facts(run, arm), "part": part, "front": front, "card": training})
        artifacts.write_atomic(folder / "README.md", card.encode("utf-8", "replace"))
    return out


def _copy(source: Path, target: Path, *, base: str, shown: str) -> None:
    """The model's files; whatever in them names the base as a place on this machine names it as others find it."""
    for path in sorted(source.iterdir()):
        if path.is_dir() or path.name.startswith(_LEFT_BEHIND):
            continue
        if path.suffix not in _TEXT:
            with artifacts.writing_to(target):
                shutil.copyfile(path, target / path.name)
            continue
        text = path.read_text(encoding="utf-8")
        text = text.replace(json.dumps(base, ensure_ascii=False), json.dumps(shown))
        artifacts.write_atomic(target / path.name, text.encode())


def _training_card(path: Path, *, base: str, shown: str) -> tuple[str, str]:
    """The lines of the training's card that name its library and tags, and its text."""
    _, front, text = path.read_text(encoding="utf-8").replace(base, shown).split("---\n", 2)
    kept = [line for line in front.splitlines() if not line.startswith("base_model:")]
    return "\n".join(kept), text.strip()


def _facts(run: Path, arm: Arm) -> dict[str, Any]:
    metrics = artifacts.read_json(run / "metrics.json") if (run / "metrics.json").exists() else {}
    prompts = artifacts.read_records(run / "prompts.jsonl", Prompt)
    kinds = composition(artifacts.read_records(run / arm / "pairs.jsonl", Pair))
    return {
        "kinds": kinds,
        "pairs": sum(kind.pairs for kind in kinds),
        "bases": sorted({kind.basis for kind in kinds}),
        "languages": languages(prompt.lang for prompt in prompts),
        "measures": measures(metrics, arm),
        "sentences": metrics.get("sentences", []),
        "evaluation_prompts": metrics.get("counts", {}).get("prompts", 0),
    }
