"""The command of the human evaluation: raters and their links, the page, and votes in and out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from hrlaif.cli_options import RunFolder

if TYPE_CHECKING:
    from hrlaif.config import Config
    from hrlaif.human_eval import Study
    from hrlaif.human_eval.items import Item

Command = Callable[..., None]
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_to(app: typer.Typer, reported: Callable[[Command], Command]) -> None:
    """Add `annotate` to the command line; `reported` turns errors into messages and exit codes."""
    app.command("annotate")(reported(annotate))


def annotate(
    folder: RunFolder,
    on: Annotated[
        str, typer.Option(help="evaluation: the arms' answers; training: what the human arm learns from.")
    ] = "evaluation",
    raters: Annotated[str, typer.Option(help="Comma-separated names; new ones get a personal link.")] = "",
    renew: Annotated[str, typer.Option(help="Names that get a new link; the old one ends.")] = "",
    days: Annotated[float, typer.Option(help="How long new links are valid.", min=0.001)] = 14.0,
    overlap: Annotated[int, typer.Option(help="Raters for each pair of answers (new study).", min=1)] = 2,
    compare: Annotated[str, typer.Option(help="Which arms, e.g. hrlaif:start (new study; default: all).")] = "",
    prompts: Annotated[int, typer.Option(help="At most so many prompts (new study; 0: all).", min=0)] = 0,
    checks: Annotated[int, typer.Option(help="Pairs with a known answer (new study; -1: a tenth).", min=-1)] = -1,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free port.", min=0, max=65535)] = 8321,
    public_url: Annotated[str, typer.Option(help="Where raters reach the page, e.g. https://rate.example.org.")] = "",
    lang: Annotated[str, typer.Option(help="Language of the page: en, zh, or auto (the browser's).")] = "auto",
    export: Annotated[Path | None, typer.Option(help="Write the votes to a file, and end.", show_default=False)] = None,
    export_as: Annotated[str, typer.Option("--as", help="votes, labels, pairs, argilla or label-studio.")] = "votes",
    imported: Annotated[
        Path | None, typer.Option("--import", help="Add votes from another tool's JSON, and end.", show_default=False)
    ] = None,
    source: Annotated[str, typer.Option("--from", help="argilla or label-studio.")] = "",
    links_only: Annotated[bool, typer.Option("--links-only", help="Print links, and end without serving.")] = False,
) -> None:
    """Let people rate answers or training responses blindly."""
    from hrlaif.errors import ConfigError
    from hrlaif.human_eval import import_votes, write_votes

    base = _base(host, port, public_url)
    if lang not in ("auto", "en", "zh"):
        raise ConfigError(f"--lang: {lang!r} is not a language of the page. Use en, zh or auto.")
    if (raters or renew) and not port and not links_only:
        raise ConfigError("links need a fixed --port, or they end with this server. Choose one.")
    path = _path(folder, on, compare)
    wanted = bool(raters or imported)
    with _study(path, wanted=wanted, overlap=overlap, compare=compare, most_prompts=prompts, checks=checks) as study:
        if imported is not None:
            print(import_votes(study, imported, source))
            return
        if export is not None:
            print(f"{write_votes(study, export, export_as)} rows: {export}")
            return
        links = study.renew(_names(renew), days=days) if renew else {}
        known = {rater.name for rater in study.raters()}
        if new := [name for name in _names(raters) if name not in known]:
            links |= study.add(new, days=days)
        if old := [name for name in _names(raters) if name in known]:
            _tell(f"there already, with the link they have: {', '.join(old)} (--renew NAME gives a new one)")
        if not study.raters():
            raise ConfigError("there is no rater yet. Name them: --raters anna,ben")
        for name, token in links.items():
            print(f"{name}: {base}/{f'?lang={lang}' if lang != 'auto' else ''}#{token}", flush=True)
        for line in _how_far(study):
            _tell(line)
    if not links_only:
        _serve(path, host=host, port=port, public_url=public_url, lang=lang)


def _path(folder: Path, on: str, compare: str) -> Path:
    """Where the votes on these responses are kept."""
    from hrlaif.errors import ConfigError
    from hrlaif.human_eval import TRAINING_VOTES, VOTES

    if on not in ("evaluation", "training"):
        raise ConfigError(f"--on: {on!r} is neither evaluation nor training.")
    if on == "training" and compare:
        raise ConfigError("--compare: all training responses are the start's. Leave it out with --on training.")
    return folder / (TRAINING_VOTES if on == "training" else VOTES)


def _serve(path: Path, *, host: str, port: int, public_url: str, lang: str) -> None:
    from hrlaif.run import needs_extra

    with needs_extra("web"):
        from hrlaif.human_eval.server import AnnotationServer, serve
    if host not in LOOPBACK:
        _tell(
            f"warning: {host} can be reached from other machines, and what is sent over http can be read on the way. "
            "Put a proxy with https before it, or use a network that you trust."
        )
    server = AnnotationServer(path, lang=lang)
    serve(
        server,
        host=host,
        port=port,
        public_url=public_url,
        ready=lambda url: print(f"annotation page: {url}/ (each rater has a link; Ctrl-C ends it)", flush=True),
    )


def _base(host: str, port: int, public_url: str) -> str:
    """The address in front of a link's token.

    Raises:
        ConfigError: Nobody could reach the page by what is known of its address.
    """
    from hrlaif.errors import ConfigError

    if public_url:
        parts = urlsplit(public_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
            raise ConfigError(f"--public-url: {public_url!r} has to be http(s)://HOST or http(s)://HOST:PORT")
        return f"{parts.scheme}://{parts.netloc}"
    if host not in LOOPBACK:
        raise ConfigError(f"--host {host}: say with --public-url at which address raters reach this page.")
    return f"http://{host if ':' not in host else f'[{host}]'}:{port}"


def _names(text: str) -> list[str]:
    from hrlaif.errors import ConfigError

    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unfit := [name for name in names if len(name) > 60 or not name.isprintable()]:
        raise ConfigError(f"--raters: {unfit[0][:60]!r} is too long for a name, or holds what cannot be printed.")
    return names


def _study(path: Path, *, wanted: bool, overlap: int, compare: str, most_prompts: int, checks: int) -> Study:
    """The study at this path, made from the run's responses where it is `wanted` and there is none yet."""
    from hrlaif import prompts
    from hrlaif.errors import DataError
    from hrlaif.human_eval import TRAINING_VOTES, Study, check_items, shuffled
    from hrlaif.make_human import training_items
    from hrlaif.run import open_folder

    config = open_folder(path.parent).config
    if path.exists() or not wanted:
        # Without raters to come there is nothing to make one for, and the message says so.
        return Study(path)
    same: list[tuple[str, str, str]] = []
    if path.name == TRAINING_VOTES:
        found, names = training_items(path.parent, config, most_prompts=most_prompts), ""
    else:
        found, same, names = _answers(path.parent, config, compare, most_prompts)
    if not found:
        why = f"the arms wrote the same {len(same)} times" if same else "the training responses are alike"
        raise DataError(f"{path.parent}: no two answers to rate: {why}.")
    langs = frozenset(one.prompt.lang for one in found)
    count = checks if checks >= 0 else max(4, len(found) // 10)
    known = check_items(prompts.calibration_pairs(), wanted=count, langs=langs, seed=config.seed)
    _tell(f"new study: {len(found)} pairs of answers, {len(known)} pairs that check raters, overlap {overlap}")
    if same:
        _tell(f"{len(same)} pairs hold the same text twice: ties that nobody has to read")
    items = shuffled([*found, *known], seed=config.seed)
    return Study.create(path, items, seed=config.seed, overlap=overlap, same=same, compare=names)


def _answers(
    folder: Path, config: Config, compare: str, most_prompts: int
) -> tuple[list[Item], list[tuple[str, str, str]], str]:
    """The pairs of the arms' answers, those of equal texts, and which arms are compared."""
    from hrlaif import artifacts
    from hrlaif.human_eval import arm_items, comparisons
    from hrlaif.types import Prompt, Response

    asked = list(artifacts.read_records(folder / "prompts.jsonl", Prompt))
    answers = {
        arm: {one.prompt_id: one for one in artifacts.read_records(folder / "answers" / f"{arm}.jsonl", Response)}
        for arm in config.contestants
    }
    models = [one.name for one in config.evaluation.models]
    pairs = comparisons(compare, ("start", *config.arms), models)
    found, same = arm_items(asked, answers, pairs, most_prompts=most_prompts)
    return found, same, ",".join(f"{first}:{second}" for first, second in pairs)


def _how_far(study: Study) -> list[str]:
    lines = []
    for rater in study.raters():
        done, total = study.progress(rater.id)
        lines.append(f"{rater.name}: {done} of {total}")
    return lines


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
