from pathlib import Path

import pytest

from hrlaif import config as configuration
from hrlaif.config import Config, EndpointSection
from hrlaif.errors import ConfigError
from hrlaif.types import Split, Task

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib


def write(folder: Path, text: str, name: str = "small.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    return path


def message(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        configuration.load(write(folder, text), overrides)
    return str(caught.value)


def test_every_problem_is_reported_at_once_with_its_key_and_the_value_seen(tmp_path: Path) -> None:
    shown = message(
        tmp_path,
        """
        sead = 1
        [responses]
        per_prompt = 1
        temperature = "hot"
        [policy.lora]
        rnak = 4
        [[prompts.sources]]
        path = "a.jsonl"
        task = "maths"
        """,
    )
    assert shown.splitlines()[0] == f"{tmp_path / 'small.toml'}: 5 problem(s):"
    assert "sead: unknown key; did you mean 'seed'?" in shown
    assert "responses.per_prompt: Input should be greater than or equal to 2 (seen: 1)" in shown
    assert "responses.temperature: Input should be a valid number" in shown
    assert "(seen: 'hot')" in shown
    assert "policy.lora.rnak: unknown key; did you mean 'rank'?" in shown
    assert "prompts.sources.0.task: Input should be 'math', 'choice'" in shown


def test_an_unknown_key_that_resembles_none_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    shown = message(tmp_path, "[model]\nquantisation = 4")
    assert "model.quantisation: unknown key; known here: name, device, dtype" in shown


def test_an_unknown_key_in_an_optional_section_gets_its_suggestion(tmp_path: Path) -> None:
    shown = message(tmp_path, '[evaluation.judge]\nurl = "http://a/v1"\nmodel = "m"\nin_fligth = 3')
    assert "evaluation.judge.in_fligth: unknown key; did you mean 'in_flight'?" in shown


def test_an_unknown_key_in_a_list_of_sections_is_named_with_its_place(tmp_path: Path) -> None:
    shown = message(tmp_path, '[[prompts.sources]]\n[[prompts.sources]]\npth = "a.jsonl"')
    assert "prompts.sources.1.pth: unknown key; did you mean 'path'?" in shown


def test_the_wrong_kind_of_value_is_explained_in_words_of_toml(tmp_path: Path) -> None:
    assert "judge: must be a section (seen: 'gpt')" in message(tmp_path, 'judge = "gpt"')
    assert "arms: must be a list (seen: 'rlaif')" in message(tmp_path, "", "arms=rlaif")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_are_finite(tmp_path: Path, value: str) -> None:
    assert "policy.learning_rate: " in message(tmp_path, f"[policy]\nlearning_rate = {value}")


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: no such configuration file\. `hrlaif init DIR`"):
        configuration.load(tmp_path / "gone.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        configuration.load(tmp_path)
    assert "small.toml: not valid TOML: " in message(tmp_path, "seed = = 1")
    (tmp_path / "latin.toml").write_bytes(b'name = "caf\xe9"')
    with pytest.raises(ConfigError, match=r"latin\.toml: cannot be read"):
        configuration.load(tmp_path / "latin.toml")


# --- overrides ----------------------------------------------------------------------------------------------------


def test_overrides_are_typed_like_toml_and_bare_words_are_strings(tmp_path: Path) -> None:
    path = write(tmp_path, "seed = 1\n[judge]\ngate = true")
    config = configuration.load(
        path,
        [
            "seed=7",
            "policy.learning_rate = 3e-4",
            "judge.gate=false",
            "model.name=org/some-model",
            'arms=["hrlaif"]',
            "report.title=a = b",
            "red_team.strategies=[]",
        ],
    )
    assert (config.seed, config.policy.learning_rate, config.judge.gate) == (7, 3e-4, False)
    assert (config.model.name, config.arms, config.report.title) == ("org/some-model", ("hrlaif",), "a = b")


def test_an_override_reaches_into_sections_that_the_file_does_not_have(tmp_path: Path) -> None:
    config = configuration.load(write(tmp_path, ""), ["policy.lora.rank=4"])
    assert config.policy.lora.rank == 4
    assert config.policy.lora.alpha == Config().policy.lora.alpha


def test_all_overrides_that_cannot_be_applied_are_reported_together(tmp_path: Path) -> None:
    shown = message(tmp_path, "seed = 1", "no-equals-sign", "=3", "seed.deeper=3")
    assert shown.startswith("--set: ")
    assert "'no-equals-sign' is not key=value" in shown
    assert "'=3' is not key=value" in shown
    assert "seed.deeper: 'seed' is not a section" in shown


def test_an_override_with_an_unknown_key_or_a_wrong_value_is_refused_like_one_in_the_file(tmp_path: Path) -> None:
    assert "policy.stpes: unknown key; did you mean 'steps'?" in message(tmp_path, "", "policy.stpes=3")
    assert "policy.steps: Input should be a valid integer" in message(tmp_path, "", "policy.steps=many")


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


# --- sections that check themselves ---------------------------------------------------------------------------------


def test_column_maps_name_our_fields(tmp_path: Path) -> None:
    shown = message(tmp_path, '[[prompts.sources]]\npath = "a.csv"\ncolumns = { anwser = "b" }')
    assert "prompts.sources.0.columns: unknown field 'anwser'; the fields to map are id, prompt" in shown


def test_arms_are_known_and_each_is_named_once(tmp_path: Path) -> None:
    assert "arms.0: Input should be 'rlaif', 'hrlaif' or 'human' (seen: 'dpo')" in message(tmp_path, 'arms = ["dpo"]')
    assert "arms: needs at least one" in message(tmp_path, "arms = []")
    assert "arms: needs at least one of rlaif, hrlaif, human, each at most once" in message(
        tmp_path, 'arms = ["rlaif", "rlaif"]'
    )


def test_a_configuration_cannot_be_changed_after_it_was_checked() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().seed = 3  # type: ignore[misc]


# --- paths and round trips ------------------------------------------------------------------------------------------


def test_paths_are_relative_to_the_file_that_holds_them(tmp_path: Path) -> None:
    (tmp_path / "deep" / "my-model").mkdir(parents=True)
    config = configuration.load(
        write(
            tmp_path / "deep",
            """
            [model]
            name = "my-model"
            [red_team]
            constitution = "../rules.txt"
            [policy]
            adapter_dir = "shared"
            [[prompts.sources]]
            path = "data/p.jsonl"
            [[prompts.sources]]
            path = "/elsewhere/p.csv"
            """,
        )
    )
    assert config.name == "small"
    assert config.run_dir == str(tmp_path / "deep" / "runs" / "small")
    assert config.model.name == str(tmp_path / "deep" / "my-model")
    assert config.policy.adapter_dir == str(tmp_path / "deep" / "shared")
    assert config.red_team.constitution == str(tmp_path / "rules.txt")
    assert [source.path for source in config.prompts.sources] == [
        str(tmp_path / "deep/data/p.jsonl"),
        "/elsewhere/p.csv",
    ]


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path) -> None:
    config = configuration.load(write(tmp_path, '[[prompts.sources]]\npath = "~/p.jsonl"'))
    assert config.prompts.sources[0].path == str((Path.home() / "p.jsonl").resolve())


def test_hub_names_and_the_bundled_model_are_no_paths(tmp_path: Path) -> None:
    (tmp_path / "bundled").mkdir()
    assert configuration.load(write(tmp_path, "")).model.name == "bundled"
    assert configuration.load(write(tmp_path, "")).prompts.sources[0].path == "bundled"
    assert configuration.load(write(tmp_path, '[model]\nname = "org/model"')).model.name == "org/model"


def test_a_dumped_configuration_reads_as_the_same_one_from_anywhere(tmp_path: Path) -> None:
    config = configuration.load(
        write(
            tmp_path / "one",
            """
            name = "trip"
            arms = ["hrlaif"]
            [judge]
            url = "http://a/v1"
            model = "m"
            budget_usd = 2.5
            usd_per_million_prompt_tokens = 0.1
            usd_per_million_completion_tokens = 0.4
            [[judge.replicas]]
            url = "http://b/v1"
            model = "m"
            weight = 2.0
            [evaluation.judge]
            url = "http://c/v1"
            model = "other"
            [[prompts.sources]]
            path = "p.csv"
            columns = { prompt = "A, B", reference = "answer.value", lang = "" }
            task = "math"
            split = "evaluation"
            [[prompts.sources]]
            [red_team]
            strategies = ["role_play"]
            """,
        )
    )
    assert (config.prompts.sources[0].task, config.prompts.sources[0].split) == (Task.MATH, Split.EVALUATION)
    again = configuration.load(write(tmp_path / "two", configuration.dump(config), "config.toml"))
    assert again == config


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("advantages = 'rloo'", "compares the responses to one prompt; set samples_per_prompt to 2 or more"),
        ("samples_per_prompt = 3", "rollouts (64) must be a multiple of samples_per_prompt (3)"),
        ("critic = 'adapter'\nlora = { rank = 0 }", "critic = 'adapter' needs adapters; set lora.rank above 0"),
        (
            "critic = 'adapter'\nlora = { gradient_checkpointing = true }",
            "does not go with lora.gradient_checkpointing",
        ),
        (
            "lora = { rank = 0 }\nendpoint = { url = 'http://127.0.0.1:8000/v1', model = 'start' }",
            "given adapters, not whole models; set lora.rank above 0, or leave endpoint.url empty",
        ),
    ],
)
def test_parts_of_the_policy_that_do_not_fit_are_an_error(tmp_path: Path, settings: str, expected: str) -> None:
    assert expected in message(tmp_path, f"[policy]\n{settings}")


def test_a_dump_writes_every_default_out_and_no_more_than_can_be_read(tmp_path: Path) -> None:
    values = tomllib.loads(configuration.dump(Config()))
    assert configuration.parse(values, where="dump") == Config()
    assert values["policy"]["steps"] == Config().policy.steps
    assert set(values) == set(Config.model_fields)


def test_the_shipped_example_configurations_are_valid() -> None:
    folder = Path(__file__).resolve().parents[1] / "configs"
    names = sorted(path.stem for path in folder.glob("*.toml"))
    assert [configuration.load(folder / f"{name}.toml").name for name in names] == names
    assert "demo" in names


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ledger": "postgresql://user:pa55@host/db"}, "ledger: holds a password; put it into PGPASSWORD"),
        ({"ledger": "postgresql://host/db?user=u&password=pa55"}, "ledger: holds a password; put it into PGPASSWORD"),
        ({"ledger": "sqlite:///calls"}, "ledger: not a PostgreSQL address such as"),
        ({"ledger": "postgresql://host"}, "ledger: not a PostgreSQL address such as"),
        ({"ledger": "user:pa55@host/db"}, "ledger: not a PostgreSQL address such as"),
        ({"ledger": "host=db password=pa55"}, "ledger: not a PostgreSQL address such as"),
        ({"engine": "ray"}, "engine = 'ray' needs a ledger that all workers reach"),
    ],
)
def test_a_ledger_for_many_hosts_has_an_address_without_a_password(values: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configuration.parse(values, where="test")
    assert message in str(caught.value)
    assert "pa55" not in str(caught.value)
    assert configuration.parse({"ledger": "postgresql://user@host/db", "engine": "ray"}, where="test").ledger
