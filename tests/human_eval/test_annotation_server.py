"""The annotation server on the loopback address, asked as a browser or an attacker would."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("latex2mathml", reason="needs the web extra: pip install 'hrlaif[web]'")

from aiohttp import web

from hrlaif.human_eval import Study
from hrlaif.human_eval.guarding import POLICY, Limiter, is_token
from hrlaif.human_eval.items import Item
from hrlaif.human_eval.server import AnnotationServer, origins
from hrlaif.types import Finish, Message, Prompt, Response, Satisfaction, Split, Task, Verdict

ID = "0123456789abcdef"


def item(number: int, task: Task = Task.OPEN, known: Verdict | None = None) -> Item:
    prompt = Prompt(f"p{number}", (Message("user", f"{number}?"),), "c", task, "42", split=Split.EVALUATION)
    arms = ("hrlaif", "start")
    first, second = (Response(f"p{number}/0", prompt.id, f"text {arm[0]}{number}", arm, 0, Finish.STOP) for arm in arms)
    return Item(prompt, first, second, *arms, known)


class Client:
    """A browser's half of the talk: cookie, token, origin."""

    def __init__(self, port: int) -> None:
        self.port, self.cookie, self.csrf = port, "", ""

    def ask(self, path: str, body: object = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        talk = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        own = {"Cookie": self.cookie, "Host": f"127.0.0.1:{self.port}"}
        if body is not None:
            own |= {"Origin": f"http://127.0.0.1:{self.port}", "X-CSRF-Token": self.csrf}
            own |= {"Content-Type": "application/json"}
        own |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        sent = {name: value for name, value in own.items() if value}
        talk.request("GET" if body is None else "POST", path, data, sent)
        reply = talk.getresponse()
        text = reply.read()
        found = {name.title(): value for name, value in reply.getheaders()}
        talk.close()
        is_json = found.get("Content-Type", "").startswith("application/json")
        return reply.status, json.loads(text) if is_json else text, found

    def enter(self, token: str) -> Any:
        status, body, headers = self.ask("/api/session", {"token": token})
        assert status == 200, body
        self.cookie, self.csrf = headers["Set-Cookie"].split(";")[0], body["csrf"]
        return body


@contextmanager
def serving(path: Path) -> Iterator[tuple[AnnotationServer, int]]:
    server = AnnotationServer(path)
    started, loop, found = threading.Event(), asyncio.new_event_loop(), []
    stop = asyncio.Event()

    async def work() -> None:
        runner = web.AppRunner(server.app(), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.append(runner.addresses[0][1])
        server.origins = origins(found[0], "")
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(work()), daemon=True)
    thread.start()
    assert started.wait(timeout=30)
    try:
        yield server, found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=30)
        loop.close()


@contextmanager
def entered(tmp_path: Path, count: int = 4, raters: str = "anna") -> Iterator[tuple[AnnotationServer, Client, str]]:
    """A server with a study, a client with a session, and the link's token."""
    path = tmp_path / "votes.sqlite"
    items = [item(n) for n in range(count)]
    with Study.create(path, items, seed=1, overlap=2) as study:
        token = study.add(raters.split(","), days=1)[raters.split(",")[0]]
    with serving(path) as (server, port):
        client = Client(port)
        client.enter(token)
        yield server, client, token


def vote(number: int, vote_id: str = ID, choice: str = "left", **more: object) -> dict[str, object]:
    sides = {"left": {"satisfied": True, "flaws": []}, "right": {"satisfied": False, "flaws": ["incorrect", "other"]}}
    return {"id": vote_id, "item": number, "choice": choice, "seconds": 3, **sides, **more}


def test_a_vote_is_answered_once_it_is_saved_in_the_pairs_own_order(tmp_path: Path) -> None:
    with entered(tmp_path, 12) as (server, client, _):
        for number in range(1, 13):
            status, body, _ = client.ask("/api/votes", vote(number, f"{number:016}"))
            assert (status, body["saved"], body["done"]) == (200, f"{number:016}", number)
        votes = server.study.votes()
    assert {one.is_swapped for one in votes} == {True, False}
    for one in votes:
        # The left was chosen, and the left satisfied.
        left, right = (one.second, one.first) if one.is_swapped else (one.first, one.second)
        assert one.verdict is (Verdict.SECOND if one.is_swapped else Verdict.FIRST)
        assert left.satisfied is Satisfaction.YES
        assert [flaw.value for flaw in right.flaws] == ["incorrect", "other"]


def test_the_page_shows_the_sides_as_the_votes_are_read_and_an_earlier_vote_as_it_was_cast(tmp_path: Path) -> None:
    with entered(tmp_path, 8) as (server, client, _):
        for number in range(1, 9):
            client.ask("/api/votes", vote(number, f"{number:016}", "right"))
            _, shown, _ = client.ask(f"/api/items/{number}")
            left = shown["responses"][0]["tree"][0][2]
            swapped = server.study.is_swapped(1, number)
            assert left.startswith("text s" if swapped else "text h")
            assert shown["vote"]["choice"] == "right"
            assert shown["vote"]["left"] == {"satisfied": True, "flaws": []}
            assert shown["vote"]["right"] == {"satisfied": False, "flaws": ["incorrect", "other"]}


def test_no_reply_names_an_arm_or_a_known_pair(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    with Study.create(path, [item(0), item(1, known=Verdict.FIRST)], seed=1, overlap=1) as study:
        token = study.add(["anna"], days=1)["anna"]
    with serving(path) as (_, port):
        client = Client(port)
        told = [
            client.enter(token),
            *(client.ask(f"/api/{p}")[1] for p in ("state", "items?n=9", "items/1", "items/2")),
        ]
    said = json.dumps(told)
    assert not any(word in said for word in ("hrlaif", '"start"', "known", "check", "first", "verdict"))
    one, other = told[2]["items"]
    assert set(one) == set(other)


def test_the_same_vote_sent_many_times_at_once_is_one_vote(tmp_path: Path) -> None:
    with entered(tmp_path) as (server, client, _):
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: client.ask("/api/votes", vote(1)), range(24)))
        assert {(status, body["version"]) for status, body, _ in replies} == {(200, 1)}
        assert server.study.db.execute("SELECT count(*) FROM votes").fetchone() == (1,)


def test_one_bad_vote_in_a_group_costs_no_other(tmp_path: Path) -> None:
    with entered(tmp_path, 20, "anna,ben") as (server, client, _):
        client.ask("/api/votes", vote(1))
        # The id is taken by item 1, so each of these fails alone, whoever shares its commit.
        bad = [vote(2) for _ in range(6)]
        good = [vote(number, f"{number:016}") for number in range(3, 17)]
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda one: client.ask("/api/votes", one)[0], [*good, *bad]))
        assert replies == [200] * 14 + [409] * 6
        assert len(server.study.votes()) == 15


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": "short"}, "'id'"),
        ({"id": "x" * 15 + "<"}, "'id'"),
        ({"choice": "both"}, "'choice'"),
        ({"choice": ["left"]}, "'choice'"),
        ({"seconds": "soon"}, "'seconds'"),
        ({"seconds": True}, "'seconds'"),
        ({"item": True}, "'item'"),
        ({"item": "1"}, "'item'"),
        ({"left": None}, "'left.satisfied'"),
        ({"right": {"satisfied": 1}}, "'right.satisfied'"),
        ({"right": {"satisfied": False, "flaws": ["ugly"]}}, "'right.flaws'"),
        ({"right": {"satisfied": False, "flaws": [{}]}}, "'right.flaws'"),
    ],
)
def test_a_vote_that_is_not_whole_is_refused_by_name_and_not_kept(
    tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    with entered(tmp_path) as (server, client, _):
        status, body, _ = client.ask("/api/votes", vote(1) | change)
        assert (status, server.study.votes()) == (400, [])
    assert body["error"].startswith(expected)


def test_bodies_that_are_no_json_too_large_or_about_no_item_are_refused(tmp_path: Path) -> None:
    with entered(tmp_path) as (server, client, _):
        assert client.ask("/api/votes", b"{")[0] == 400
        assert client.ask("/api/votes", b"[]")[0] == 400
        assert client.ask("/api/votes", vote(99))[0] == 404
        assert client.ask("/api/votes", vote(1) | {"more": "x" * 70_000})[0] == 413
        assert client.ask("/api/items?n=1000")[0] == 400
        assert client.ask("/api/items?n=1&not=x")[0] == 400
        assert client.ask("/api/items/99")[0] == 404
        assert client.ask("/static/..%2f..%2fserver.py")[0] == 404
        assert client.ask("/static/server.py")[0] == 404
        assert server.study.votes() == []


def test_nothing_is_told_or_taken_without_a_session(tmp_path: Path) -> None:
    with entered(tmp_path) as (server, client, _):
        stranger = Client(client.port)
        for path in ("/api/state", "/api/items?n=1", "/api/items/1", "/api/nothing"):
            assert stranger.ask(path)[0] == 401
        assert stranger.ask("/api/votes", vote(1))[0] == 401
        assert stranger.ask("/api/session", {"token": "guess"})[0] == 401
        assert stranger.ask("/api/session", {"token": ["x"]})[0] == 401
        assert stranger.ask("/api/session", {})[0] == 401
        assert server.study.votes() == []


def test_another_sites_page_can_change_nothing(tmp_path: Path) -> None:
    with entered(tmp_path) as (server, client, token):
        for headers in (
            {"Origin": "https://evil.test"},
            {"Origin": "null"},
            {"Origin": ""},
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
            {"X_CSRF_Token": ""},
            {"X_CSRF_Token": "0" * 64},
        ):
            assert client.ask("/api/votes", vote(1), **headers)[0] == 403, headers
        for kind in ("text/plain", "application/x-www-form-urlencoded"):
            assert client.ask("/api/votes", vote(1), Content_Type=kind)[0] == 415
        assert client.ask("/api/session", {"token": token}, Origin="https://evil.test")[0] == 403
        assert server.study.votes() == []


def test_a_name_that_was_pointed_at_us_is_not_served(tmp_path: Path) -> None:
    with entered(tmp_path) as (_, client, _):
        for host in ("evil.test", f"evil.test:{client.port}", "127.0.0.1", f"127.0.0.1:{client.port}.evil.test"):
            for path in ("/", "/api/state", "/static/app.js"):
                assert client.ask(path, Host=host)[0] == 421
        assert client.ask("/api/state", Host=f"localhost:{client.port}")[0] == 200


def test_a_token_of_another_session_does_not_serve(tmp_path: Path) -> None:
    with entered(tmp_path) as (_, client, token):
        other = Client(client.port)
        other.enter(token)
        assert other.csrf != client.csrf
        assert client.ask("/api/votes", vote(1), X_CSRF_Token=other.csrf)[0] == 403
        assert not is_token("secret", "é")


def test_every_reply_carries_the_policy_and_the_cookie_is_out_of_reach(tmp_path: Path) -> None:
    with entered(tmp_path) as (_, client, token):
        for path in ("/", "/static/app.js", "/api/state", "/nothing", "/api/items?n=x"):
            headers = client.ask(path)[2]
            assert headers["Content-Security-Policy"] == POLICY
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["X-Frame-Options"] == "DENY"
        assert client.ask("/api/state")[2]["Cache-Control"] == "no-store"
        cookie = client.ask("/api/session", {"token": token})[2]["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "unsafe" not in POLICY
    assert "frame-ancestors 'none'" in POLICY


def test_a_rater_may_ask_much_and_a_script_not_without_end() -> None:
    limiter = Limiter(per_s=2, burst=3)
    assert [limiter.allows("a", now=0.0) for _ in range(5)] == [True, True, True, False, False]
    assert limiter.allows("b", now=0.0)
    # Two a second: after half a second there is one more.
    assert [limiter.allows("a", now=0.5) for _ in range(2)] == [True, False]
    # What was not used is kept up to the burst.
    assert [limiter.allows("a", now=100.0) for _ in range(4)] == [True, True, True, False]


def test_too_many_requests_of_one_link_are_refused_and_others_are_served(tmp_path: Path) -> None:
    with entered(tmp_path) as (server, client, token):
        server._by_rater = Limiter(per_s=0, burst=2)
        assert [client.ask("/api/state")[0] for _ in range(3)] == [200, 200, 429]
        server._by_address = Limiter(per_s=0, burst=1)
        assert [client.ask("/api/session", {"token": token})[0] for _ in range(2)] == [200, 429]


def test_a_restart_keeps_sessions_votes_and_place(tmp_path: Path) -> None:
    with entered(tmp_path) as (_, client, _):
        upcoming = [one["item"] for one in client.ask("/api/items?n=4")[1]["items"]]
        client.ask("/api/votes", vote(upcoming[0]))
    with serving(tmp_path / "votes.sqlite") as (server, port):
        client.port = port
        state = client.ask("/api/state")[1]
        assert (state["done"], state["total"], state["rated"]) == (1, 4, upcoming[:1])
        assert [one["item"] for one in client.ask("/api/items?n=4")[1]["items"]] == upcoming[1:]
        assert client.ask(f"/api/items?n=4&not={upcoming[1]}")[1]["items"][0]["item"] == upcoming[2]
        assert client.ask("/api/votes", vote(upcoming[0]))[1]["version"] == 1
        assert len(server.study.votes()) == 1


def test_behind_a_proxy_the_public_address_is_served_too() -> None:
    assert "https://rate.test" in origins(80, "https://rate.test/")
    assert origins(5, "") >= {"http://[::1]:5", "http://localhost:5"}
