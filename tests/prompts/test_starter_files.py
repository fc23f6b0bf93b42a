"""What `hrlaif init` writes works as it is."""

import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from hrlaif.config import Config
from hrlaif.config import load as load_config
from hrlaif.errors import ConfigError
from hrlaif.prompts import load, write_starter
from hrlaif.types import Split, Task

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_the_configuration_loads_and_its_prompts_are_of_every_task(tmp_path: Path) -> None:
    config_file, prompts_file = write_starter(tmp_path / "new" / "run")
    config = load_config(config_file)
    prompts = load(config.prompts, seed=config.seed)
    assert any(prompt.source == prompts_file.name for prompt in prompts)
    assert {prompt.task for prompt in prompts} == set(Task)
    assert [sum(p.split is split for p in prompts) for split in Split] == [
        config.prompts.train,
        config.prompts.evaluation,
    ]


def test_the_own_sample_prompts_are_of_every_task(tmp_path: Path) -> None:
    config = load_config(write_starter(tmp_path)[0], ["prompts.train=0", "prompts.evaluation=0"])
    own = [prompt for prompt in load(config.prompts, seed=0) if prompt.source == "prompts.jsonl"]
    assert {prompt.task for prompt in own} == set(Task)
    assert {prompt.lang for prompt in own} == {"en", "zh"}


def test_every_section_of_the_configuration_is_shown(tmp_path: Path) -> None:
    shown = tomllib.loads(write_starter(tmp_path)[0].read_text(encoding="utf-8"))
    sections = {
        name
        for name, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    assert sections <= set(shown)


def test_keys_that_are_shown_as_comments_are_keys(tmp_path: Path) -> None:
    config_file = write_starter(tmp_path)[0]
    lines = config_file.read_text(encoding="utf-8").splitlines()
    config_file.write_text("\n".join(line.removeprefix("# ") if " = " in line else line for line in lines[3:]))
    assert load_config(config_file).judge.key_env == "HRLAIF_JUDGE_KEY"


@pytest.mark.parametrize("name", ["config.toml", "prompts.jsonl"])
def test_nothing_is_overwritten_and_nothing_is_written_beside_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match=f"holds {name} already"):
        write_starter(tmp_path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, "mine")]


def test_a_file_is_no_folder_to_write_into(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is a file"):
        write_starter(tmp_path / "file")
