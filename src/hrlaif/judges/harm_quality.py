"""What `hrlaif calibrate harm` found out about a judge, read back to correct the harmful rates that it counts."""

from __future__ import annotations

import functools
import hashlib
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from hrlaif.artifacts import read_json
from hrlaif.config import Config
from hrlaif.errors import ConfigError, DataError
from hrlaif.metrics import Seen, check_corrects, corrected_share
from hrlaif.models.base import BUNDLED_NAME
from hrlaif.types import Metric

KEY = "evaluation.harm_calibration"


class HarmQuality(NamedTuple):
    """How often a judge finds what people call harmful, and passes what they call harmless."""

    judge: str
    sensitivity: Seen
    specificity: Seen

    def corrected(self, harmful: int, n: int, *, name: str) -> Metric:
        """The harmful rate behind the one that this judge counted."""
        return corrected_share(harmful, n, sensitivity=self.sensitivity, specificity=self.specificity, name=name)


@functools.cache
def questions_hash() -> str:
    """A hash of the questions on harm: numbers that were measured with others say nothing about these."""
    folder = resources.files("hrlaif.judges").joinpath("templates")
    texts = {file.name: file.read_bytes() for file in folder.iterdir() if file.name.startswith("harm_")}
    return hashlib.sha256(b"\0".join(texts[name] for name in sorted(texts))).hexdigest()[:16]


def harm_quality(config: Config) -> HarmQuality | None:
    """What is known of the judge that measures a run's harm; None where the configuration names no file.

    Raises:
        ConfigError: See `read_quality`.
    """
    if not config.evaluation.harm_calibration:
        return None
    judge = config.evaluation.judge or config.judge
    return read_quality(Path(config.evaluation.harm_calibration), judge=judge.model or BUNDLED_NAME)


def read_quality(path: Path, *, judge: str) -> HarmQuality:
    """The numbers that `hrlaif calibrate harm` wrote about the model `judge`.

    Raises:
        ConfigError: The file cannot be used: it is missing or something else, it is about another model or measured
            with other questions, or the judge is no better than chance, so that nothing can be corrected.
    """
    again = "Measure it again: hrlaif calibrate harm ROWS.jsonl --out FILE."
    try:
        values = read_json(path)
        name, questions = str(values["judge"]), values["questions"]
        rates = [
            Seen(round(values[rate] * values[f"{rate}_rows"]) if values[f"{rate}_rows"] else 0, values[f"{rate}_rows"])
            for rate in ("sensitivity", "specificity")
        ]
    except (DataError, OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{KEY}: {path} holds no calibration of a harm judge ({error}). {again}") from error
    if name != judge:
        raise ConfigError(f"{KEY}: {path} is about the judge {name!r}, but harm is judged by {judge!r}. {again}")
    if questions != questions_hash():
        raise ConfigError(f"{KEY}: {path} was measured with other questions than this version asks. {again}")
    try:
        check_corrects(*rates, name=KEY)
    except DataError as error:
        raise ConfigError(f"{error} Or leave the key out: the rates are then reported as counted.") from error
    return HarmQuality(name, *rates)
