"""Whether the files and flags of `hrlaif export` exist in the engines' releases: bench/handoff.py [--json FILE].

Downloads the wheels of OpenRLHF, verl and TRL without installing them, and reads them: argument parsers, default
configuration, the code that asks for rewards. With --trl-python PYTHON (an environment with TRL) the exported pairs
also train a tiny reward model for one step.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from hrlaif.artifacts import write_records
from hrlaif.config import parse
from hrlaif.handoff import ENGINES, export
from hrlaif.types import Basis, Message, Pair, Prompt, Task

VERSIONS = {"openrlhf": "openrlhf>=0.11,<0.12", "verl": "verl>=0.9,<0.10", "trl": "trl>=1.12,<1.13"}
VERL_DEFAULTS = "verl/trainer/config/_generated_ppo_trainer.yaml"
Check = tuple[str, str, str]


class Wheel:
    """A downloaded wheel, read as a zip file; `source("openrlhf/cli/x.py")` finds it wherever the wheel keeps it."""

    def __init__(self, requirement: str, folder: Path) -> None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
        subprocess.run(command, check=True)
        name = re.split("[<>=]", requirement)[0]
        (path,) = folder.glob(f"{name}-*.whl")
        self.name, self.version = path.name.split("-")[:2]
        self.zip = zipfile.ZipFile(path)

    def source(self, path: str) -> str:
        """The text of one file of the package."""
        (found,) = [name for name in self.zip.namelist() if name == path or name.endswith("/purelib/" + path)]
        return self.zip.read(found).decode()


def flags(source: str) -> set[str]:
    """The names of all `add_argument` calls; a name with a formatted prefix stands for each optimiser's prefix."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            first = node.args[0]
            if isinstance(first, ast.Constant):
                found.add(first.value)
            elif isinstance(first, ast.JoinedStr):
                text = "".join(part.value if isinstance(part, ast.Constant) else "*" for part in first.values)
                found |= {text.replace("*", prefix) for prefix in ("actor", "critic")}
    return found


def calls(source: str, name: str) -> str:
    """The source of one function."""
    (found,) = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name
    ]
    return ast.unparse(found)


def keys(tree: object, prefix: str = "") -> set[str]:
    """Dotted names of a nested configuration, inner nodes included."""
    if not isinstance(tree, dict):
        return set()
    return {prefix + key for key in tree}.union(*(keys(value, f"{prefix}{key}.") for key, value in tree.items()))


def exported(folder: Path) -> dict[str, Path]:
    asked = (Message("user", "What is 2 + 2?"),)
    write_records(
        folder / "prompts.jsonl",
        [Prompt("a", asked, "math", Task.MATH, "4"), Prompt("b", asked, "open", Task.OPEN)],
        fingerprint="bench",
    )
    pairs = [Pair("a", asked, f"{k}: 4", "5", 0.99, Basis.VERIFIER, "math") for k in range(16)]
    write_records(folder / "hrlaif/pairs.jsonl", pairs, fingerprint="bench")
    config = parse({"model": {"name": "org/base"}, "run_dir": str(folder)}, where="bench")
    return {
        engine: export(folder, config, engine=engine, arm="hrlaif", out=folder / f"for-{engine}") for engine in ENGINES
    }


def missing(wanted: set[str], there: set[str]) -> str:
    lost = sorted(wanted - there)
    return f"FAIL: unknown {', '.join(lost)}" if lost or not wanted else f"PASS ({len(wanted)})"


def holds(text: str, *parts: str) -> str:
    lost = [part for part in parts if part not in text]
    return f"FAIL: no {lost}" if lost else "PASS"


def openrlhf(wheel: Wheel, out: Path) -> Iterator[tuple[str, str]]:
    for script, module in (("run.sh", "train_ppo_ray"), ("train_rm.sh", "train_rm")):
        written = set(re.findall(r"^  (--[\w.]+)", (out / script).read_text(), re.MULTILINE))
        yield f"flags of {module}", missing(written, flags(wheel.source(f"openrlhf/cli/{module}.py")))
    agent = wheel.source("openrlhf/utils/agent.py")
    asks = calls(agent, "_fetch_rewards_via_http")
    yield "request has query, prompts, labels", holds(asks, "'query'", "'prompts'", "'labels'")
    reads = calls(agent, "execute") if agent.count("def execute(") == 1 else agent
    yield "reply's rewards, scores, extra_logs are read", holds(reads, '"rewards"', '"scores"', '"extra_logs"')
    yield "query keeps special tokens", holds(agent, "skip_special_tokens=False")
    yield (
        "reward_func(queries, prompts, labels) from a .py",
        holds(agent, "reward_module.reward_func", '.endswith(".py")'),
    )
    data = wheel.source("openrlhf/datasets/reward_dataset.py")
    yield "pairs as role/content lists, margin", holds(data, "data[prompt_key] + data[chosen_key]", 'data["margin"]')


def verl(wheel: Wheel, out: Path) -> Iterator[tuple[str, str]]:
    defaults = yaml.safe_load(wheel.source(VERL_DEFAULTS))
    written = set(re.findall(r"^  ([a-z_][\w.]+)=", (out / "run.sh").read_text(), re.MULTILINE))
    yield "overrides of main_ppo", missing(written, keys(defaults))
    manager = wheel.source("verl/experimental/reward_loop/reward_manager/naive.py")
    named = ("data_source=", "solution_str=", "ground_truth=", "extra_info=")
    yield "compute_score's arguments", holds(manager, *named, '["reward_model"]["ground_truth"]', 'result["score"]')
    loader = wheel.source("verl/trainer/ppo/reward.py")
    yield "the function is loaded from path and name", holds(loader, "custom_reward_function", '"path"', '"name"')


def trl(wheel: Wheel, out: Path, python: str) -> Iterator[tuple[str, str]]:
    script = wheel.source("trl/scripts/rloo.py")
    yield "reward_funcs by import path", holds(script, "importlib.import_module(module_path)")
    loss = wheel.source("trl/trainer/reward_trainer.py")
    yield "RewardTrainer subtracts margin", holds(loss, 'rewards_chosen - rewards_rejected - inputs["margin"]')
    if not python:
        return
    tests = Path(__file__).resolve().parent.parent / "tests"
    make = f"import sys; sys.path.insert(0, {str(tests)!r}); import tiny_model, pathlib; "
    make += f"tiny_model.write_tiny_model(pathlib.Path({str(out / 'tiny')!r}))"
    subprocess.run([python, "-c", make], check=True, capture_output=True)
    for method in ("reward", "dpo"):
        options = ["--model_name_or_path", str(out / "tiny"), "--max_steps", "1", "--use_cpu", "--bf16", "false"]
        options = [method, "--config", f"{method}.yaml", *options]
        module = f"from trl.cli import main; import sys; sys.argv[1:] = {options!r}; main()"
        done = subprocess.run([python, "-c", module], cwd=out, capture_output=True, text=True, check=False)
        yield f"one step of trl {method}", "PASS" if done.returncode == 0 else f"FAIL: {done.stderr.strip()[-300:]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--trl-python", default="")
    parser.add_argument("--wheels", type=Path, help="where downloads are kept")
    args = parser.parse_args()
    checks: list[Check] = []
    with tempfile.TemporaryDirectory() as scratch:
        folders = exported(Path(scratch) / "run")
        readers: dict[str, Callable[[Wheel, Path], Iterator[tuple[str, str]]]] = {
            "openrlhf": openrlhf,
            "verl": verl,
            "trl": lambda wheel, out: trl(wheel, out, args.trl_python),
        }
        for engine, read in readers.items():
            kept = args.wheels or Path(scratch)
            wheel = Wheel(VERSIONS[engine], kept)
            checks += [(f"{engine} {wheel.version}", what, result) for what, result in read(wheel, folders[engine])]
    for check in checks:
        print("| " + " | ".join(check) + " |")
    if args.json:
        args.json.write_text(json.dumps([dict(zip(("engine", "check", "result"), c, strict=True)) for c in checks]))
    sys.exit(any(result.startswith("FAIL") for *_, result in checks))


if __name__ == "__main__":
    main()
