"""The page in a real browser, by keyboard, through crashes, and with texts that a hostile model wrote."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("latex2mathml", reason="needs the web extra: pip install 'hrlaif[web]'")

from hrlaif.human_eval import Study, outcomes_of
from hrlaif.metrics import krippendorff_alpha
from hrlaif.types import Message, Prompt, Satisfaction, Split, Task, Verdict

ON_ITEM = "!document.getElementById('item').hidden && document.getElementById('question').textContent"
ON_MESSAGE = "!document.getElementById('message').hidden && document.getElementById('message-title').textContent"
DONE = f"{ON_MESSAGE} === 'All done. Thank you!'"
LEFT = "document.querySelector('[data-side=left] .text').textContent"
SAVED = "document.getElementById('saved').textContent"
# What a model's text may become on the page, and what it never does.
ATTRIBUTES = {
    *("@class", "@dir", "@start", "@display", "@mathvariant", "@stretchy", "@fence", "@form"),
    *("@columnalign", "@width", "@displaystyle", "@accent"),
}
ACTIVE = {"script", "img", "svg", "style", "a", "iframe", "form", "button", "link", "base", "input"}
COUNT = "document.getElementById('count').textContent"


def prompt(number: int, task: Task = Task.OPEN, text: str = "") -> Prompt:
    asked = (Message("user", text or f"Question {number}?"),)
    return Prompt(f"p{number:02}", asked, task.value, task, split=Split.EVALUATION)


async def rate(tab: Any, wanted: Callable[[str], tuple[str, bool, bool]]) -> str:
    """Rate the item on the page: `wanted` says of its left text which is better and which of the two satisfy."""
    left: str = await tab.wait_for(f"{ON_ITEM} && {LEFT}")
    choice, left_satisfies, right_satisfies = wanted(left)
    keys = ["a" if left_satisfies else "s", *([] if left_satisfies else ["i"])]
    keys += ["k" if right_satisfies else "l", {"left": "1", "tie": "2", "right": "ArrowRight"}[choice], "Enter"]
    await tab.press(*keys)
    await tab.wait_for(f"{LEFT} !== {json.dumps(left)} || {ON_MESSAGE}")
    return left


def plan(rater: str, left: str) -> tuple[str, bool, bool]:
    """What a rater says of an item, by its left text."""
    arm, number = left.split()[0], int(left[-2:])
    is_winner = arm == winner(rater, number)
    return ("left" if is_winner else "right", is_winner, not is_winner)


def winner(rater: str, number: int) -> str:
    """The start's answer wins for anna on the first 15 prompts; ben disagrees with her on prompts 0 to 4."""
    return "start" if number < 15 and not (rater == "ben" and number < 5) else "rlaif"


async def dies_and_opens_again(browser: Any, tab: Any, link: str) -> Any:
    """The browser dies with an item half rated; the rater opens the link again and is at the same item."""
    left = await tab.wait_for(f"{ON_ITEM} && {LEFT}")
    await tab.press("a", "1")
    await tab.wait_for(f"{SAVED} === 'Saved'")
    before = await tab.evaluate(COUNT)
    await browser.kill()
    await browser.start()
    tab = await browser.tab()
    await tab.open(link)
    assert await tab.wait_for(f"{ON_ITEM} && {LEFT}") == left
    assert await tab.evaluate(COUNT) == before
    return tab


def test_two_raters_by_keyboard_through_a_killed_browser_and_a_killed_server_lose_no_vote(
    tmp_path: Path, make_run: Any, serve: Any, browse: Any, tools: Any
) -> None:
    run = make_run([prompt(number) for number in range(20)])
    port = tools.free_port()
    links = tools.links(run, "anna,ben", port, "--checks", "0")
    server = serve(run, port)

    async def work() -> None:
        async with browse(tmp_path / "anna") as one, browse(tmp_path / "ben") as other:
            anna, ben = await one.tab(), await other.tab()
            await anna.open(links["anna"])
            await ben.open(links["ben"])
            for _ in range(7):
                await rate(anna, functools.partial(plan, "anna"))
            for _ in range(6):
                await rate(ben, functools.partial(plan, "ben"))
            ben = await dies_and_opens_again(other, ben, links["ben"])
            assert await ben.evaluate(COUNT) == "6 of 20"
            # The server dies while anna goes on with what is here already, and her votes wait in the browser.
            await anna.wait_for(f"{SAVED} === 'Saved'")
            server.kill()
            for _ in range(2):
                await rate(anna, functools.partial(plan, "anna"))
            await anna.wait_for(f"{SAVED}.includes('Not saved yet')")
            await anna.open("about:blank")
            await anna.open(links["anna"])  # nobody answers; the votes are in the browser's store
            await asyncio.sleep(0.1)
            server.start()
            await anna.open(links["anna"])
            # Seven votes were saved before, and two waited in the browser: neither has to be cast again.
            await anna.wait_for(f"{COUNT} === '9 of 20'")
            for tab, name in ((anna, "anna"), (ben, "ben")):
                while await tab.wait_for(f"({ON_ITEM} && 'item') || ({DONE} && 'done')") == "item":
                    await rate(tab, functools.partial(plan, name))
            for tab in (anna, ben):
                await tab.wait_for(f"{DONE} && {COUNT} === '20 of 20'")
                assert tab.dialogs == []
                # The link's token has left the address bar.
                assert "#" not in await tab.evaluate("location.href")

    asyncio.run(work())
    with Study(run / "votes.sqlite") as study:
        votes = study.votes()
        found = outcomes_of(study)
        rows = study.db.execute("SELECT count(*), max(version) FROM votes").fetchone()
    assert rows == (40, 1)
    for vote in votes:
        wins = winner(vote.rater, int(vote.prompt_id[1:]))
        assert vote.verdict is (Verdict.FIRST if vote.first_arm == wins else Verdict.SECOND)
        assert (vote.first.satisfied is Satisfaction.YES) == (vote.first_arm == wins)
        assert [flaw.value for flaw in (*vote.first.flaws, *vote.second.flaws)] in ([], ["incorrect"])
        assert vote.seconds < 60
    # Played: 5 pairs apart, 10 both for the start, 5 both for rlaif.
    played = krippendorff_alpha([("r", "s")] * 5 + [("s", "s")] * 10 + [("r", "r")] * 5)
    assert found.about["agreement"]["alpha_preference"]["value"] == pytest.approx(played.value)
    # Seen agreement 0.75; anna says start on 15 of 20, ben on 10: chance 0.75 * 0.5 + 0.25 * 0.5 = 0.5, kappa 0.5.
    assert found.about["kappa"][0]["kappa"]["value"] == pytest.approx(0.5)


def test_texts_of_a_hostile_model_change_nothing_on_the_page(
    tmp_path: Path, make_run: Any, serve: Any, browse: Any, tools: Any, hostile: dict[str, str]
) -> None:
    names = list(hostile)
    asked = [prompt(number, text=f"{number:02} {hostile[name]}") for number, name in enumerate(names)]
    run = make_run(asked, lambda arm, one: f"{hostile[names[int(one.id[1:])]]}{'' if arm == 'start' else ' '}.{arm[0]}")
    port = tools.free_port()
    link = tools.links(run, "anna", port, "--checks", "0")["anna"]
    serve(run, port)
    # Everything that is not a model's text: the elements, and where they stand.
    shape = """(() => {
      const own = document.body.cloneNode(true);
      for (const text of own.querySelectorAll(".text")) text.replaceChildren();
      for (const text of own.querySelectorAll("#turns > *, #reference-text")) text.replaceChildren();
      return [...own.querySelectorAll("*")].map((one) => one.tagName + "#" + one.id).join(" ");
    })()"""
    inside = """[...new Set([...document.querySelectorAll(".text *")].flatMap((one) =>
      [one.localName, ...[...one.attributes].map((each) => "@" + each.name)]))]"""
    places = """["save", "count", "left-title", "right-title"].map((id) => {
      const box = document.getElementById(id).getBoundingClientRect();
      const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
      return box.width > 0 && box.right <= innerWidth && (top === null || top.closest(".text") === null);
    })"""

    async def work() -> None:
        async with browse(tmp_path / "anna") as browser:
            tab = await browser.tab()
            await tab.open(link)
            before = await tab.wait_for(f"{ON_ITEM} && {shape}")
            seen: set[str] = set()
            for number in range(len(names)):
                await tab.wait_for(f"{ON_ITEM} && {COUNT}.startsWith('{number} ')")
                assert await tab.evaluate(shape) == before
                assert all(await tab.evaluate(places))
                # No text makes the page wider than the screen.
                assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
                seen |= set(await tab.evaluate(inside))
                await tab.press("e", "a", "k", "2", "Enter")
            await tab.wait_for(DONE)
            assert tab.dialogs == []
            assert tab.problems == []
            assert {url.split("/")[2] for url in tab.requests if not url.startswith("about:")} == {f"127.0.0.1:{port}"}
            assert {one for one in seen if one.startswith("@")} <= ATTRIBUTES
            assert not seen & ACTIVE

    asyncio.run(work())


def test_a_huge_answer_is_cut_on_the_screen_until_all_of_it_is_asked_for(
    tmp_path: Path, make_run: Any, serve: Any, browse: Any, tools: Any
) -> None:
    run = make_run([prompt(0)], lambda arm, _: arm + " x" * 40_000)
    port = tools.free_port()
    link = tools.links(run, "anna", port, "--checks", "0")["anna"]
    serve(run, port)
    height = "document.querySelector('[data-side=left] .text').clientHeight"

    async def work() -> None:
        async with browse(tmp_path / "anna") as browser:
            tab = await browser.tab()
            await tab.open(link)
            await tab.wait_for(f"{ON_ITEM} && !document.querySelector('[data-side=left] .all').hidden")
            cut = await tab.evaluate(height)
            await tab.press("e")
            assert await tab.evaluate(height) > 2 * cut

    asyncio.run(work())


def test_red_team_items_are_announced_covered_and_may_be_left_out(
    tmp_path: Path, make_run: Any, serve: Any, browse: Any, tools: Any
) -> None:
    run = make_run([prompt(0), *(prompt(n, Task.RED_TEAM) for n in (1, 2, 3))], lambda arm, one: f"{arm} harm {one.id}")
    port = tools.free_port()
    links = tools.links(run, "anna,ben", port, "--checks", "0", "--overlap", "1")
    serve(run, port)
    warned = f"{ON_MESSAGE} === 'The next items may be disturbing'"

    async def work() -> None:
        async with browse(tmp_path / "profile") as browser:
            tab = await browser.tab()
            await tab.open(links["anna"])
            await tab.wait_for(f"{warned} || {ON_ITEM}")
            if await tab.evaluate(ON_ITEM):
                await tab.press("a", "k", "2", "Enter")
            await tab.wait_for(warned)
            assert "harm p" not in await tab.evaluate("document.body.textContent")
            await tab.press("Enter")
            await tab.wait_for(f"{ON_ITEM} && !document.getElementById('cover').hidden")
            assert "harm p" not in await tab.evaluate("document.body.textContent")
            await tab.press("1", "a", "k")  # nothing can be said of what was not seen
            assert await tab.evaluate("document.getElementById('save').disabled")
            await tab.press("Enter")
            await tab.wait_for(f"{LEFT}.includes('harm p')")
            # Now ben leaves them out as a whole.
            await tab.call("Network.clearBrowserCookies")
            await tab.open("about:blank")
            await tab.open(links["ben"])
            await tab.wait_for(f"{warned} || {ON_ITEM}")
            if await tab.evaluate(ON_ITEM):
                await tab.press("a", "k", "2", "Enter")
            await tab.wait_for(warned)
            await tab.press("s")
            await tab.wait_for(DONE)

    asyncio.run(work())
    with Study(run / "votes.sqlite") as study:
        assert [rater.reads_red_team for rater in study.raters()] == [True, False]
        # All three are anna's now.
        assert study.db.execute(
            "SELECT count(*) FROM places JOIN items ON id = item WHERE is_red_team AND rater = 1"
        ).fetchone() == (3,)


def test_a_mind_can_be_changed_and_the_page_speaks_chinese_on_a_small_screen(
    tmp_path: Path, make_run: Any, serve: Any, browse: Any, tools: Any
) -> None:
    run = make_run([prompt(0), prompt(1)])
    port = tools.free_port()
    link = tools.links(run, "anna", port, "--checks", "0", "--lang", "zh")["anna"]
    serve(run, port)
    pressed = "[...document.querySelectorAll('[aria-pressed=true]')].map((one) => one.querySelector('kbd').textContent)"

    async def work() -> None:
        async with browse(tmp_path / "profile") as browser:
            tab = await browser.tab()
            await tab.call(
                "Emulation.setDeviceMetricsOverride", width=360, height=640, deviceScaleFactor=2, mobile=True
            )
            await tab.open(link)
            assert await tab.wait_for(ON_ITEM) == "哪个回答更好？"
            assert await tab.evaluate("document.documentElement.lang") == "zh"
            assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
            first = await rate(tab, lambda _: ("left", False, True))
            await tab.press("b")
            await tab.wait_for(f"{LEFT} === {json.dumps(first)}")
            assert await tab.evaluate(pressed) == ["S", "I", "K", "1"]
            await tab.press("3", "Enter")
            await tab.wait_for(f"{LEFT} !== {json.dumps(first)}")
            await tab.evaluate("document.getElementById('lang').click()")
            assert (
                await tab.wait_for(f"document.documentElement.lang === 'en' && {ON_ITEM}") == "Which answer is better?"
            )
            await tab.press("x", "Enter")
            await tab.wait_for(f"{DONE} && {COUNT} === '2 of 2'")

    asyncio.run(work())
    with Study(run / "votes.sqlite") as study:
        votes = sorted(study.votes(), key=lambda vote: vote.version)
        assert [vote.version for vote in votes] == [1, 2]
        assert votes[0].verdict is Verdict.UNREADABLE
        chosen = votes[1].verdict is Verdict.SECOND
        assert chosen != votes[1].is_swapped
        assert study.db.execute("SELECT count(*) FROM votes").fetchone() == (3,)
