"""Configuration files: TOML in, one validated `Config` out, every problem reported at once.

Paths in a configuration are relative to the file that holds them.
"""

from __future__ import annotations

import contextlib
import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hrlaif import storage
from hrlaif.config.judge import JUDGE_PROMPTS
from hrlaif.config.sections import BUNDLED, Config, PromptsSection, SftSection
from hrlaif.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# pydantic's words for a reader of TOML.
_PLAIN = {"tuple_type": "must be a list", "model_type": "must be a section", "dict_type": "must be a section"}


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file and apply `key=value` overrides (values in TOML syntax, bare words are strings).

    Raises:
        ConfigError: The file is missing or not TOML, or any key is wrong: all problems in one message.
    """
    values = read_toml(path)
    problems = [problem for override in overrides if (problem := _override(values, override))]
    if problems:
        raise ConfigError("--set: " + "; ".join(problems))
    _read_templates(values, path.resolve().parent)
    config = parse(values, where=str(path))
    return _absolute(config, path.resolve().parent, path.stem)


def read_toml(path: Path) -> dict[str, Any]:
    """The plain values of a configuration file, whatever keys it has.

    Raises:
        ConfigError: The file is missing or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such configuration file. `hrlaif init DIR` writes a commented one.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}).") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}.") from error


def parse(values: Mapping[str, Any], *, where: str) -> Config:
    """Validate plain values; `where` names their origin in messages."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = [_describe(problem) for problem in error.errors(include_url=False)]
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigError(f"{where}: {len(problems)} problem(s):\n{lines}") from error


def dump(config: Config) -> str:
    """The resolved configuration as TOML, every default written out."""
    import tomli_w

    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def _read_templates(values: Any, folder: Path) -> None:
    """Put the text of each panel member's own template into the values, so that a run folder holds what was asked.

    The prompt is then called as its file. What is no readable file stays as it is, for the validation to name.
    """
    judge = values.get("judge")
    panel = judge.get("panel") if isinstance(judge, dict) else None
    for member in panel if isinstance(panel, list) else ():
        prompt = member.get("prompt") if isinstance(member, dict) and "template" not in member else None
        if not isinstance(prompt, str) or prompt in JUDGE_PROMPTS:
            continue
        # ValueError: not UTF-8, or no possible path.
        with contextlib.suppress(OSError, ValueError):
            file = folder / Path(prompt).expanduser()
            member["template"] = file.read_text(encoding="utf-8")
            member["prompt"] = file.name if file.stem in JUDGE_PROMPTS else file.stem


def _override(values: dict[str, Any], override: str) -> str | None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        return f"{override!r} is not key=value"
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *parents, last = key.strip().split(".")
    table: Any = values
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            return f"{key}: {parent!r} is not a section"
    table[last] = value
    return None


def _describe(problem: Any) -> str:
    location = [str(step) for step in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.6)
        hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    message = _PLAIN.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    seen = problem.get("input")
    # What a validator of ours rejects may be a key in the wrong place: its message shows what can be shown.
    shown = "" if isinstance(seen, dict) or problem["type"] == "value_error" else f" (seen: {repr(seen)[:80]})"
    return f"{key}: {message}{shown}" if key else message + shown


def _fields_at(location: Sequence[str]) -> list[str]:
    section: Any = Config
    for step in location:
        if step.isdigit():
            continue
        annotation = section.model_fields[step].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        section = next(kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel))
    return list(section.model_fields)


def _absolute(config: Config, folder: Path, stem: str) -> Config:
    """Paths resolved against the configuration's folder, so that a run folder's copy works from anywhere."""

    def resolve(path: str) -> str:
        return path if path in ("", BUNDLED) else str((folder / Path(path).expanduser()).resolve())

    def resolved(section: PromptsSection | SftSection) -> Any:
        paths = ((one, one.path if storage.is_url(one.path) else resolve(one.path)) for one in section.sources)
        sources = (one.model_copy(update={"path": path}) for one, path in paths)
        return section.model_copy(update={"sources": tuple(sources)})

    def weights(name: str) -> str:
        return resolve(name) if (folder / Path(name).expanduser()).is_dir() else name

    model, evaluation, red_team = config.model, config.evaluation, config.red_team
    model = model.model_copy(update={"name": weights(model.name)})
    name = config.name if "name" in config.model_fields_set else stem
    benchmarks = tuple(one.model_copy(update={"path": resolve(one.path)}) for one in evaluation.benchmarks)
    others = tuple(one.model_copy(update={"path": weights(one.path) if one.path else ""}) for one in evaluation.models)
    calibration = resolve(evaluation.harm_calibration)
    return config.model_copy(
        update={
            "name": name,
            "run_dir": resolve(config.run_dir or f"runs/{name}"),
            "model": model,
            "prompts": resolved(config.prompts),
            "sft": resolved(config.sft),
            "policy": config.policy.model_copy(update={"adapter_dir": resolve(config.policy.adapter_dir)}),
            "red_team": red_team.model_copy(
                update={
                    "constitution": resolve(red_team.constitution),
                    "harm_calibration": resolve(red_team.harm_calibration),
                }
            ),
            "evaluation": evaluation.model_copy(
                update={"harm_calibration": calibration, "benchmarks": benchmarks, "models": others}
            ),
        }
    )
