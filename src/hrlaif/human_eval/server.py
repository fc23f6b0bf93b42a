"""The annotation page: static files, and a small JSON interface behind a session.

    POST /api/session {"token"}      a link's token for a session (cookie)
    GET  /api/state                  who I am, how far I am, which items I have rated
    GET  /api/items?n=3&not=4,7      the next items of my list
    GET  /api/items/12               one item, with my vote
    POST /api/votes {...}            answered once the vote is on the disk; the same id again is the same vote
    POST /api/red-team {"reads"}     whether I read red-team items

No reply names an arm, a model, or a pair that checks raters.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from hrlaif.errors import DataError
from hrlaif.human_eval import guarding
from hrlaif.human_eval.ballot_box import BallotBox
from hrlaif.human_eval.casting import read_ballot, shown_vote
from hrlaif.human_eval.items import Item
from hrlaif.human_eval.records import Rater, Shown, TakenError
from hrlaif.human_eval.rendering import rendered
from hrlaif.human_eval.store import Study
from hrlaif.listening import listen
from hrlaif.progress import track
from hrlaif.types import Finish

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STATIC = Path(__file__).with_name("static")
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
MOST_ITEMS = 10
MOST_DRAWN_AHEAD = 5000
SECRET, RATER = web.RequestKey("secret", str), web.RequestKey("rater", Rater)


class AnnotationServer:
    """The application over one study. `origins` are the addresses that browsers may know it by."""

    def __init__(self, path: Path, *, origins: frozenset[str] = frozenset(), lang: str = "auto") -> None:
        # Reading never waits; what changes the file has a connection of its own, and waits in a thread.
        self.study, self._changing = Study(path), Study(path, is_flushed=False)
        self.origins = origins
        self.box: BallotBox | None = None
        self._path = path
        self._files = {file.name: file.read_bytes() for file in STATIC.iterdir() if file.suffix in TYPES}
        self._files["index.html"] = self._files["index.html"].replace(
            b'data-lang="auto"', f'data-lang="{lang}"'.encode()
        )
        self._drawn: dict[int, tuple[str, str, str]] = {}
        self._by_rater = guarding.Limiter(per_s=20, burst=100)
        self._by_address = guarding.Limiter(per_s=5, burst=100)

    def app(self) -> web.Application:
        """The web application; votes are saved as long as it runs."""
        app = web.Application(client_max_size=guarding.MOST_BODY_BYTES, middlewares=[self._guard, self._with_session])
        app.add_routes(
            [
                web.get("/", self._file),
                web.get(r"/static/{name}", self._file),
                web.get("/favicon.ico", self._no_icon),
                web.post("/api/session", self._open_session),
                web.get("/api/state", self._state),
                web.get("/api/items", self._items),
                web.get(r"/api/items/{item:\d{1,9}}", self._item),
                web.post("/api/votes", self._vote),
                web.post("/api/red-team", self._red_team),
            ]
        )
        app.cleanup_ctx.append(self._saving)
        return app

    async def _saving(self, _: web.Application) -> AsyncIterator[None]:
        self.box = BallotBox(self._path)
        yield
        await asyncio.to_thread(self.box.close)
        self._changing.close()
        self.study.close()

    # --- around every request ---

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Checks first, headers last; every error of the interface leaves as JSON with a message."""
        try:
            guarding.check_host(request, self.origins)
            if request.method not in ("GET", "HEAD"):
                guarding.check_origin(request, self.origins)
            response = await handler(request)
        except web.HTTPException as error:
            response = _error(error.status, error.text or error.reason)
        except DataError as error:
            # The file's path is nobody's business but the operator's.
            print(f"annotation page: {error}", file=sys.stderr, flush=True)
            response = _error(503, "not saved: the study's file cannot be used now")
        response.headers.update({**guarding.HEADERS, **response.headers})
        return response

    @web.middleware
    async def _with_session(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith("/api/"):
            return await handler(request)
        if request.path == "/api/session":
            if not self._by_address.allows(request.remote):
                return _error(429, "too many attempts", {"Retry-After": "1"})
            return await handler(request)
        secret = request.cookies.get(guarding.COOKIE, "")
        rater = self.study.rater_of(secret) if secret else None
        if rater is None:
            return _error(401, "open your personal link")
        if not self._by_rater.allows(rater.id):
            return _error(429, "too many requests", {"Retry-After": "1"})
        if request.method != "GET" and not guarding.is_token(secret, request.headers.get(guarding.TOKEN_HEADER, "")):
            return _error(403, "the request's token is missing or old: load the page again")
        request[SECRET], request[RATER] = secret, rater
        return await handler(request)

    # --- replies ---

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name", "index.html")
        body = self._files.get(name)
        if body is None:
            raise web.HTTPNotFound(text="no such file")
        return web.Response(
            body=body, content_type=TYPES[Path(name).suffix], charset="utf-8", headers={"Cache-Control": "no-cache"}
        )

    async def _no_icon(self, _: web.Request) -> web.Response:
        return web.Response(status=204)

    async def _open_session(self, request: web.Request) -> web.Response:
        token = (await _body(request)).get("token")
        opened = await asyncio.to_thread(self._changing.open_session, token) if isinstance(token, str) else None
        if opened is None:
            return _error(401, "this link is not valid, or has ended: ask for a new one")
        secret, rater = opened
        response = web.json_response(self._told(secret, rater))
        lasts_s = max(1.0, rater.expires - time.time())
        is_secure = any(origin.startswith("https://") for origin in self.origins)
        guarding.set_cookie(response, secret, lasts_s=lasts_s, is_secure=is_secure)
        return response

    async def _state(self, request: web.Request) -> web.Response:
        return web.json_response(self._told(request[SECRET], request[RATER]))

    def _told(self, secret: str, rater: Rater) -> dict[str, Any]:
        done, total = self.study.progress(rater.id)
        return {
            "csrf": guarding.csrf_token(secret),
            # What waits in a browser belongs to this study, whatever else is served at the same address.
            "rater": {"key": f"{self.study.id}-{rater.id}", "name": rater.name},
            "reads_red_team": rater.reads_red_team,
            "done": done,
            "total": total,
            "rated": self.study.done(rater.id),
        }

    async def _items(self, request: web.Request) -> web.Response:
        wanted, without = request.query.get("n", "1"), request.query.get("not", "")
        if (
            not wanted.isdecimal()
            or not 1 <= int(wanted) <= MOST_ITEMS
            or not all(part.isdecimal() and len(part) < 10 for part in without.split(",") if part)
        ):
            raise web.HTTPBadRequest(text=f"n is 1 to {MOST_ITEMS}, not is a list of item numbers")
        rater = request[RATER]
        leaving_out = frozenset(int(part) for part in without.split(",") if part)
        numbers = self.study.upcoming(rater.id, int(wanted), leaving_out=leaving_out)
        done, total = self.study.progress(rater.id)
        items = ",".join([await self._page_of(self.study.shown(rater.id, number)) for number in numbers])
        return _json(f'{{"items":[{items}],"done":{done},"total":{total}}}')

    async def _item(self, request: web.Request) -> web.Response:
        rater, number = request[RATER], int(request.match_info["item"])
        shown = self._known(rater, number)
        vote = self.study.vote_of(rater.id, number)
        cast = json.dumps(shown_vote(vote, is_swapped=shown.is_swapped) if vote else None)
        return _json(f'{(await self._page_of(shown))[:-1]},"vote":{cast}}}')

    def _known(self, rater: Rater, number: int) -> Shown:
        try:
            return self.study.shown(rater.id, number)
        except DataError as error:
            raise web.HTTPNotFound(text=str(error)) from error

    async def _page_of(self, shown: Shown) -> str:
        """What the page shows of an item, as JSON: drawn once for all raters."""
        if shown.id not in self._drawn:
            self._drawn[shown.id] = await asyncio.to_thread(_draw, shown.item)
        about, first, second = self._drawn[shown.id]
        left, right = (second, first) if shown.is_swapped else (first, second)
        red_team = json.dumps(shown.is_red_team)
        return f'{{"item":{shown.id},"is_red_team":{red_team},{about},"responses":[{left},{right}]}}'

    def draw_ahead(self) -> None:
        """Draw the items before anybody waits for them; drawing beside requests would hold these up."""
        items = list(self.study.items().items())[:MOST_DRAWN_AHEAD]
        self._drawn = {number: _draw(item) for number, item in track(items, "drawing the pairs", len(items))}

    async def _vote(self, request: web.Request) -> web.Response:
        rater, sent = request[RATER], await _body(request)
        number = sent.get("item")
        if not isinstance(number, int) or isinstance(number, bool):
            raise web.HTTPBadRequest(text="'item' has to be a number")
        shown = self._known(rater, number)
        try:
            ballot = read_ballot(sent, rater=rater.id, is_swapped=shown.is_swapped)
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        assert self.box is not None
        try:
            version = await self.box.cast(ballot)
        except TakenError as error:
            raise web.HTTPConflict(text=str(error)) from error
        done, total = self.study.progress(rater.id)
        return web.json_response({"saved": ballot.id, "version": version, "done": done, "total": total})

    async def _red_team(self, request: web.Request) -> web.Response:
        reads = (await _body(request)).get("reads")
        if not isinstance(reads, bool):
            raise web.HTTPBadRequest(text="'reads' has to be true or false")
        await asyncio.to_thread(self._changing.set_reads_red_team, request[RATER].id, reads)
        done, total = self.study.progress(request[RATER].id)
        return web.json_response({"reads_red_team": reads, "done": done, "total": total})


def _draw(item: Item) -> tuple[str, str, str]:
    """JSON of what does not depend on the rater, and of each response; sides are put together for each rater."""
    turns = [{"role": turn.role, "tree": rendered(turn.content)} for turn in item.prompt.messages]
    about = f'"turns":{json.dumps(turns)},"reference":{json.dumps(item.prompt.reference)}'
    first, second = (
        json.dumps({"tree": rendered(one.text), "is_cut": one.finish is Finish.LENGTH})
        for one in (item.first, item.second)
    )
    return about, first, second


def _json(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/json")


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        sent = json.loads(await request.read())
    except ValueError as error:
        raise web.HTTPBadRequest(text="the body is not JSON") from error
    if not isinstance(sent, dict):
        raise web.HTTPBadRequest(text="the body has to be an object")
    return sent


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": message}, status=status, headers=headers)


def serve(server: AnnotationServer, *, host: str, port: int, public_url: str, ready: Callable[[str], None]) -> None:
    """Serve until interrupted; `ready` gets the address for raters once the server listens (port 0 takes a free one).

    Raises:
        ConfigError: The address cannot be listened on.
        KeyboardInterrupt: Ctrl-C, after votes that wait are saved.
    """

    def listening(taken: int) -> None:
        server.origins = origins(taken, public_url)
        ready(public_url or f"http://{host}:{taken}")

    listen(server.app(), host=host, port=port, ready=listening)


def origins(port: int, public_url: str) -> frozenset[str]:
    """Under which origins browsers may reach the page: the loopback names, and the public one where there is one."""
    names = {"127.0.0.1", "localhost", "[::1]"}
    own = frozenset(f"http://{name}:{port}" for name in names)
    return own | {public_url.rstrip("/")} if public_url else own
