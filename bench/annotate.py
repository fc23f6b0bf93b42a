"""The annotation page under many raters at once: bench/annotate.py [--raters 100] [--seconds 60] [--json FILE].

Starts `hrlaif annotate` as a process of its own on a temporary run folder, and raters in client processes beside it:
each opens its link within the first second, reads ahead as the page does, votes, and thinks for 0.5 to 1.5 s, ten times
as fast as a person. Then the server is killed with -9, and every vote that was answered is looked for in the file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from socket import socket

import aiohttp

from claims import claim, report
from hrlaif import config as configuration
from hrlaif.artifacts import write_records
from hrlaif.config import parse
from hrlaif.types import Finish, Message, Prompt, Response, Split, Task

CLIENTS = 2
ITEMS = 240
TEXT = (
    "First, **read** the question.\n\n1. Then add $\\frac{a}{b}$ to it.\n2. Then check:\n\n```python\nprint(1)\n```\n\n"
)


def write_run(folder: Path) -> None:
    """A run with answers of about 200 words, with Markdown, code and a formula."""
    prompts = [
        Prompt(f"p{n}", (Message("user", f"{n}: {'why ' * 30}?"),), "open", Task.OPEN, split=Split.EVALUATION)
        for n in range(ITEMS)
    ]
    config = parse({"arms": ["rlaif"], "run_dir": str(folder)}, where="bench")
    write_records(folder / "prompts.jsonl", prompts, fingerprint="p")
    for arm in ("start", "rlaif"):
        answers = [
            Response(f"{one.id}/0", one.id, f"{arm} {TEXT}{'word ' * 170}", arm, 0, Finish.STOP) for one in prompts
        ]
        write_records(folder / "answers" / f"{arm}.jsonl", answers, fingerprint="a")
    (folder / "config.toml").write_text(configuration.dump(config))


async def rater(link: str, seed: int, until: float, found: dict[str, list]) -> None:
    base, token = link.split("/#")
    think = random.Random(seed)
    await asyncio.sleep(think.random())
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(base, cookie_jar=jar, headers={"Origin": base}) as http:

        async def ask(path: str, body: object = None) -> dict:
            start = time.perf_counter()
            async with http.request("GET" if body is None else "POST", path, json=body) as reply:
                answer = await reply.json()
                if reply.status != 200:
                    found["errors"].append([path, reply.status, answer])
            found["votes" if path == "/api/votes" else "reads"].append(time.perf_counter() - start)
            return answer

        http.headers["X-CSRF-Token"] = (await ask("/api/session", {"token": token}))["csrf"]
        here: list[int] = []
        while time.time() < until:
            if len(here) < 2:
                more = await ask(f"/api/items?n=4&not={','.join(map(str, here))}")
                if not more["items"]:
                    break
                here += [one["item"] for one in more["items"]]
            vote = {"id": f"{think.getrandbits(128):032x}", "item": here.pop(0), "seconds": 0.5}
            vote |= {"choice": think.choice(["left", "right", "tie"]), "left": {"satisfied": True}}
            vote |= {"right": {"satisfied": False, "flaws": ["incorrect"]}}
            answer = await ask("/api/votes", vote)
            if answer.get("saved") == vote["id"]:
                found["saved"].append(vote["id"])
            await asyncio.sleep(0.5 + think.random())


def client(links: list[str], first_seed: int, seconds: float, out: Path) -> None:
    found: dict[str, list] = {"votes": [], "reads": [], "errors": [], "saved": []}

    async def work() -> None:
        until = time.time() + seconds
        await asyncio.gather(*(rater(link, first_seed + n, until, found) for n, link in enumerate(links)))

    asyncio.run(work())
    out.write_text(json.dumps(found))


def percentile(values: list[float], share: float) -> float:
    return 1000 * sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure(folder: Path, *, raters: int, seconds: float) -> dict[str, list]:
    """All clients' findings; the server has been killed when this returns."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "hrlaif", "annotate", str(folder), "--port", str(port), "--overlap", str(raters)]
    names = ",".join(f"r{n}" for n in range(raters))
    made = subprocess.run([*command, "--raters", names, "--links-only"], check=True, capture_output=True, text=True)
    links = [line.split(": ", 1)[1] for line in made.stdout.splitlines()]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    try:
        server.stdout.readline()
        outs = [folder / f"client-{n}.json" for n in range(CLIENTS)]
        clients = [
            multiprocessing.Process(target=client, args=(links[n::CLIENTS], 1000 * n, seconds, out))
            for n, out in enumerate(outs)
        ]
        for one in clients:
            one.start()
        for one in clients:
            one.join()
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    parts = [json.loads(out.read_text()) for out in outs]
    return {key: [value for part in parts for value in part[key]] for key in parts[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raters", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        write_run(folder)
        found = measure(folder, raters=args.raters, seconds=args.seconds)
        kept = [vote_id for (vote_id,) in sqlite3.connect(folder / "votes.sqlite").execute("SELECT id FROM votes")]
    every = found["votes"] + found["reads"]
    for error in found["errors"][:5]:
        print(error, file=sys.stderr)
    claims = [
        claim(f"requests a second, {args.raters} raters", [len(every) / args.seconds], "1/s"),
        claim("votes saved", [len(found["saved"])], "votes"),
        claim("a vote until it is on the disk, median", [percentile(found["votes"], 0.5)], "ms"),
        claim("a vote until it is on the disk, p99", [percentile(found["votes"], 0.99)], "ms", at_most=100),
        claim("items read ahead, p99", [percentile(found["reads"], 0.99)], "ms", at_most=100),
        claim("slowest of all", [1000 * max(every)], "ms"),
        claim("errors", [len(found["errors"])], "", at_most=0),
        claim("votes lost in kill -9", [len(set(found["saved"]) - set(kept))], "votes", at_most=0),
        claim("votes kept twice", [len(kept) - len(set(kept))], "votes", at_most=0),
    ]
    report(claims, args.json)
    sys.exit(any(one.met is False for one in claims))


if __name__ == "__main__":
    main()
