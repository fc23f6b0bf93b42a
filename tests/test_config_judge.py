"""Endpoints, panels and budgets of judges in a configuration."""

from pathlib import Path

import pytest

from hrlaif import config as configuration
from hrlaif.config import EndpointSection

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib
from config_text import message, write

# --- endpoints ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@host/v1",
        "https://hunter2@host/v1",
        "ftp://user:hunter2@host",
        "user:hunter2@host/v1",
        "https://host/v1?key=hunter2",
        "https://host/v1#hunter2",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    shown = message(tmp_path, f'[judge]\nurl = "{url}"\nmodel = "m"')
    assert "judge.url: holds credentials" in shown
    assert "environment variable" in shown
    assert "hunter2" not in shown


def test_a_key_where_the_name_of_its_variable_belongs_is_refused_and_not_repeated(tmp_path: Path) -> None:
    shown = message(tmp_path, '[judge]\nurl = "https://h/v1"\nmodel = "m"\nkey_env = "sk-hunter2"')
    assert "judge.key_env: must be the name of an environment variable" in shown
    assert "hunter2" not in shown
    assert EndpointSection(url="https://h/v1", model="m", key_env="MY_KEY_2").key_env == "MY_KEY_2"


@pytest.mark.parametrize(
    "url", ["host:8000/v1", "http://", "file:///etc/passwd", "http://host:99999/v1", "http://[1/v1"]
)
def test_an_address_that_cannot_be_called_is_refused(tmp_path: Path, url: str) -> None:
    assert "judge.url: " in message(tmp_path, f'[judge]\nurl = "{url}"\nmodel = "m"')


def test_a_url_needs_a_model_and_a_model_needs_a_url(tmp_path: Path) -> None:
    assert "judge: has a url but no model" in message(tmp_path, '[judge]\nurl = "http://h/v1"')
    assert "judge: names the model 'm' but no url" in message(tmp_path, '[judge]\nmodel = "m"')


def test_a_trailing_slash_of_a_url_does_not_matter() -> None:
    assert EndpointSection(url="http://h:1/v1/", model="m").url == "http://h:1/v1"


# --- panels ---------------------------------------------------------------------------------------------------------


def panel(*members: str, judge: str = 'url = "http://h/v1"\nmodel = "m"') -> str:
    return "\n".join([f"[judge]\n{judge}", *(f"[[judge.panel]]\n{member}" for member in members)])


def test_a_template_file_is_read_into_the_configuration_and_called_as_the_file(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "brevity.txt").write_text("Short wins.\n$request\n$first\n${second}\n")
    (tmp_path / "correctness.md").write_text("$request $first $second $form costs $$1")
    text = panel('prompt = "prompts/brevity.txt"', 'prompt = "correctness.md"', 'prompt = "correctness"')
    members = configuration.load(write(tmp_path, text)).judge.members
    assert [member.prompt for member in members] == ["brevity", "correctness.md", "correctness"]
    assert members[0].template == "Short wins.\n$request\n$first\n${second}\n"
    assert members[2].template == ""


def test_a_panel_reads_back_as_it_was_after_its_template_files_are_gone(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "mine.txt").write_text("$request $first $second")
    text = panel('prompt = "mine.txt"\nweight = 2.0', "reply = 'json'", 'url = "http://c/v1"\nmodel = "other"')
    config = configuration.load(write(tmp_path / "one", text))
    (tmp_path / "one" / "mine.txt").unlink()
    again = configuration.load(write(tmp_path / "two", configuration.dump(config), "config.toml"))
    assert again.judge == config.judge
    assert again.judge.members == config.judge.members


def test_a_member_follows_the_judge_in_what_it_does_not_set_however_often_it_was_written_out(tmp_path: Path) -> None:
    config = configuration.load(write(tmp_path, panel('prompt = "correctness"')))
    moved = tomllib.loads(configuration.dump(config))
    moved["judge"] |= {"url": "http://moved/v1", "reply": "json"}
    (member,) = configuration.parse(moved, where="test").judge.members
    assert (member.url, member.model, member.reply, member.prompt) == ("http://moved/v1", "m", "json", "correctness")


def test_the_weight_of_a_vote_is_not_the_judges_share_of_calls(tmp_path: Path) -> None:
    text = panel("", 'prompt = "correctness"\nweight = 3', judge='url = "http://h/v1"\nmodel = "m"\nweight = 9')
    assert [member.weight for member in configuration.load(write(tmp_path, text)).judge.members] == [1, 3]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("$request $first", "lacks $second;"),
        ("", "lacks $request, $first, $second;"),
        ("$request $first $second $reference", "holds $reference;"),
        ("$request $first $second for $5", "holds a $ without a name (write $$ for the sign itself);"),
        ("$first $$request $second $x", "lacks $request and holds $x;"),
    ],
)
def test_a_template_that_cannot_be_asked_is_one_clear_error(tmp_path: Path, template: str, problem: str) -> None:
    (tmp_path / "mine.txt").write_text(template)
    shown = message(tmp_path, panel('prompt = "mine.txt"'))
    assert f"judge.panel.0: the template of prompt 'mine' {problem} it needs $request, $first and $second" in shown
    assert len(shown.splitlines()) == 2


@pytest.mark.parametrize("prompt", ["strict", "gone/mine.txt", ".", "latin.txt", "a\\u0000b"])
def test_a_prompt_that_is_neither_shipped_nor_a_file_is_named(tmp_path: Path, prompt: str) -> None:
    (tmp_path / "latin.txt").write_bytes(b"$request $first $second caf\xe9")
    shown = message(tmp_path, panel(f'prompt = "{prompt}"'))
    assert "judge.panel.0: prompt '" in shown
    assert "is neither one of standard, correctness, errors_first nor a file that can be read" in shown


def test_a_template_in_the_configuration_needs_a_name_of_its_own(tmp_path: Path) -> None:
    shown = message(tmp_path, panel('template = "$request $first $second"'))
    assert "judge.panel.0: a template needs a prompt name of its own" in shown


def test_the_same_judge_twice_is_refused_wherever_it_is_served(tmp_path: Path) -> None:
    shown = message(tmp_path, panel("", 'prompt = "correctness"', 'url = "http://other/v1"\nmodel = "m"'))
    assert "judge: panel.2 is the same judge as panel.0 (model 'm', prompt 'standard', reply 'letter')" in shown
    configuration.load(write(tmp_path, panel("", 'prompt = "correctness"', 'model = "n"', 'reply = "json"')))


def test_a_member_that_nobody_serves_is_refused(tmp_path: Path) -> None:
    assert "judge: panel.0 names the model 'n' but no url" in message(tmp_path, panel('model = "n"', judge=""))
    assert "judge.panel.0: has a url but no model" in message(tmp_path, panel('url = "http://h/v1"'))


def test_a_panel_of_the_wrong_shape_is_explained(tmp_path: Path) -> None:
    assert "judge.panel: must be a list" in message(tmp_path, "[judge]\npanel = 3")
    assert "judge.panel.0: must be a section" in message(tmp_path, "[judge]\npanel = [3]")
    assert "judge.panel.0.promt: unknown key; did you mean 'prompt'?" in message(tmp_path, panel('promt = "x"'))
    assert "judge.panel.0.weight: Input should be greater than 0" in message(tmp_path, panel("weight = 0"))
    assert "judge.reply: Input should be 'letter' or 'json'" in message(tmp_path, "[judge]\nreply = 'xml'")


def test_a_budget_needs_a_price_of_somebody_who_is_paid(tmp_path: Path) -> None:
    member = 'url = "http://h/v1"\nmodel = "m"'
    assert "judge: has budget_usd but no prices" in message(tmp_path, panel(member, judge="budget_usd = 1"))
    priced = f"{member}\nusd_per_million_prompt_tokens = 1"
    configuration.load(write(tmp_path, panel(priced, judge="budget_usd = 1")))


def test_the_examples_of_the_guide_are_valid_and_seat_whom_it_says(tmp_path: Path) -> None:
    guide = (Path(__file__).resolve().parents[1] / "docs" / "judges.md").read_text()
    (tmp_path / "my_criteria.txt").write_text("$request $first $second")
    *judges, corrected = (
        configuration.load(write(tmp_path, block.split("```")[0])) for block in guide.split("```toml\n")[1:]
    )
    assert judges.pop(1).pairs.calibrated
    one, several = (config.judge for config in judges)
    assert corrected.evaluation.harm_calibration == str(tmp_path / "harm.json")
    assert [(member.reply, member.reply_max_tokens) for member in one.members] == [("json", 4096)]
    seen = [(member.url, member.model, member.prompt, member.weight, member.reply) for member in several.members]
    assert seen == [
        ("https://api.example.com/v1", "large-judge", "standard", 2.0, "letter"),
        ("https://api.example.com/v1", "large-judge", "errors_first", 1.0, "letter"),
        ("https://api.example.com/v1", "small-judge", "correctness", 1.0, "letter"),
        ("http://127.0.0.1:8000/v1", "reasoner", "my_criteria", 1.0, "json"),
    ]
