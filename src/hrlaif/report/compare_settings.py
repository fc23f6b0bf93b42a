"""In which settings runs differ, by the config.toml that each run folder holds with every default written out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hrlaif.config import read_toml
from hrlaif.report.wording import flat

# Where a run lies and what it is called says nothing about how it was made.
PLACE = ("run_dir", "name")


def differing(files: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Values by run for each setting that is not the same in all runs; a run without the file is left out.

    Raises:
        ConfigError: A file is not TOML.
    """
    read = {run: dict(flat(read_toml(path))) for run, path in files.items() if path.exists()}
    keys = dict.fromkeys(key for settings in read.values() for key in settings if key not in PLACE)
    found = {key: {run: settings[key] for run, settings in read.items() if key in settings} for key in keys}
    return {key: of for key, of in found.items() if len(of) < len(read) or len(set(of.values())) > 1}
