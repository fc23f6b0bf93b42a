from pathlib import Path

import pytest

from hrlaif import config as configuration
from hrlaif.config import Config
from hrlaif.errors import ConfigError
from hrlaif.types import Split, Task

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib
from config_text import message, write


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


def test_prompts_may_come_from_an_address_but_no_password_and_no_run_folder(tmp_path: Path) -> None:
    config = configuration.load(write(tmp_path, '[[prompts.sources]]\npath = "s3://bucket/prompts-*.jsonl.zst"'))
    assert config.prompts.sources[0].path == "s3://bucket/prompts-*.jsonl.zst"
    for address, told in (
        ("ftp://me:secret@host/a.jsonl", "holds a password"),
        ("zip://a.jsonl::https://me:secret@host/a.zip", "holds a password"),
        ("https://host/a.jsonl?signature=secret", "holds a query"),
    ):
        shown = message(tmp_path, f'[[prompts.sources]]\npath = "{address}"')
        assert f"prompts.sources.0.path: {told}" in shown
        assert "secret" not in shown
    assert "run_dir: " in message(tmp_path, 'run_dir = "s3://bucket/run"')


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


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ('{ name = "rlaif", path = "x" }', "'rlaif' is taken by the run itself"),
        ('{ name = "a" }', "'a' needs either a path or a url"),
        ('{ name = "RLAIF", path = "x" }', "'RLAIF' is taken by the run itself"),
        ('{ name = "a", path = "x" }, { name = "a", path = "y" }', "two models are called 'a'"),
        ('{ name = "a", path = "x" }, { name = "A", path = "y" }', "two models are called 'a'"),
        (f'{{ name = "{"a" * 33}", path = "x" }}', "at most 32 characters"),
        (
            '{ name = "a", url = "http://h/v1", model = "m" }, { name = "b", url = "http://k/v1", model = "m" }',
            "two addresses serve a model 'm'",
        ),
        ('{ name = "a", url = "http://h/v1", model = "m" }', "benchmark 'b' compares log-likelihoods"),
    ],
)
def test_further_models_of_the_evaluation_are_checked(tmp_path: Path, models: str, expected: str) -> None:
    benchmark = '[[evaluation.benchmarks]]\nname = "b"\nkind = "arc"\npath = "b.jsonl"'
    assert expected in message(tmp_path, f"[evaluation]\nmodels = [{models}]\n{benchmark}")
