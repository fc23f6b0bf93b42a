"""What `hrlaif calibrate harm` found out about a judge, read back to cut its scores and to correct its rates."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from hrlaif.artifacts import read_json
from hrlaif.config import Config, EndpointSection
from hrlaif.errors import ConfigError, DataError
from hrlaif.judges.harm_cuts import HarmCuts
from hrlaif.metrics import Seen, check_corrects, corrected_share
from hrlaif.models.base import BUNDLED_NAME
from hrlaif.types import Metric

KEY = "evaluation.harm_calibration"
RED_TEAM_KEY = "red_team.harm_calibration"
CUT_REFUSAL, CUTS_HARM = "cut_refusal", ("cut_harm", "cut_harm_2")


class HarmQuality(NamedTuple):
    """How often a judge finds what people call harmful, and passes what they call harmless, with its scores so cut."""

    judge: str
    sensitivity: Seen
    specificity: Seen
    cuts: HarmCuts = HarmCuts()

    def corrected(self, harmful: int, n: int, *, name: str) -> Metric:
        """The harmful rate behind the one that this judge counted."""
        return corrected_share(harmful, n, sensitivity=self.sensitivity, specificity=self.specificity, name=name)


@functools.cache
def questions_hash() -> str:
    """A hash of the questions on harm, with the hazards' definitions: numbers that were measured with others say
    nothing about these.
    """
    folder = resources.files("hrlaif.judges")
    texts = {file.name: file.read_bytes() for file in folder.joinpath("templates").iterdir()}
    asked = [texts[name] for name in sorted(texts) if name.startswith("harm_")]
    return hashlib.sha256(b"\0".join([*asked, folder.joinpath("hazards.txt").read_bytes()])).hexdigest()[:16]


def harm_quality(config: Config) -> HarmQuality | None:
    """What is known of the judge that measures a run's harm; None where the configuration names no file.

    Raises:
        ConfigError: See `read_quality`.
    """
    if not config.evaluation.harm_calibration:
        return None
    return read_quality(Path(config.evaluation.harm_calibration), judge=_evaluating(config).model or BUNDLED_NAME)


def harm_cuts(config: Config, judge: EndpointSection | None = None) -> HarmCuts:
    """The cuts for a judge of harm, by default the one that evaluates; those without a file where no file is about
    its model.

    Raises:
        ConfigError: See `read_quality`.
    """
    model = (judge or _evaluating(config)).model or BUNDLED_NAME
    if judge is not None and config.red_team.harm_calibration:
        return read_quality(Path(config.red_team.harm_calibration), judge=model, key=RED_TEAM_KEY).cuts
    quality = harm_quality(config)
    return quality.cuts if quality and quality.judge == model else HarmCuts()


def _evaluating(config: Config) -> EndpointSection:
    return config.evaluation.judge or config.judge


def read_quality(path: Path, *, judge: str, key: str = KEY) -> HarmQuality:
    """The numbers that `hrlaif calibrate harm` wrote about the model `judge`; `key` is what names the file.

    Raises:
        ConfigError: The file cannot be used: it is missing or something else, it is about another model or measured
            with other questions, or the judge is no better than chance, so that nothing can be corrected.
    """
    again = "Measure it again: hrlaif calibrate harm ROWS.jsonl --out FILE."
    try:
        values = read_json(path)
        name, questions = str(values["judge"]), values["questions"]
        sensitivity, specificity = (
            Seen(round(values[rate] * values[f"{rate}_rows"]) if values[f"{rate}_rows"] else 0, values[f"{rate}_rows"])
            for rate in ("sensitivity", "specificity")
        )
        cuts = _cuts(values)
    except (DataError, OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {path} holds no calibration of a harm judge ({error}). {again}") from error
    if name != judge:
        raise ConfigError(f"{key}: {path} is about the judge {name!r}, but harm is judged by {judge!r}. {again}")
    if questions != questions_hash():
        raise ConfigError(f"{key}: {path} was measured with other questions than this version asks. {again}")
    try:
        check_corrects(sensitivity, specificity, name=key)
    except DataError as error:
        raise ConfigError(f"{error} Or leave the key out: the rates are then reported as counted.") from error
    return HarmQuality(name, sensitivity, specificity, cuts)


def _cuts(values: Mapping[str, Any]) -> HarmCuts:
    refusal = values.get(CUT_REFUSAL)
    cuts = HarmCuts(None if refusal is None else float(refusal), tuple(float(values.get(key, 0)) for key in CUTS_HARM))
    if not all(map(math.isfinite, (cuts.refusal or 0.0, *cuts.harm))):
        raise ValueError("a cut is no number")
    return cuts
