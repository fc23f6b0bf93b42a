"""Asks the served reward model (`hrlaif serve-reward RUN`); Python's standard library only, so it runs anywhere.

HRLAIF_REWARD_URL names the server, http://127.0.0.1:8100/ if it is not set. Whatever fails raises: a reward that was
not measured must never be trained on.
"""

from __future__ import annotations

import json
import math
import os
import time
import urllib.error
import urllib.request
from typing import Any

DEFAULT_URL = "http://127.0.0.1:8100/"
TIMEOUT_S = 180.0
ATTEMPTS = 8


class RewardUnavailableError(RuntimeError):
    """The reward server did not score these responses."""


def ask(queries: list[str], prompts: list[str], labels: list[str]) -> dict[str, Any]:
    """The server's answer: `rewards` and `scores` (one number per query) and `extra_logs`.

    `queries` are prompt and response as one text. A server that is busy or restarting is asked again, with growing
    pauses of at most a minute in all.

    Raises:
        RewardUnavailableError: It refused the rows, could not score them, cannot be reached, or sent something else.
    """
    url = os.environ.get("HRLAIF_REWARD_URL", DEFAULT_URL)
    body = json.dumps({"query": list(queries), "prompts": list(prompts), "labels": list(labels)}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    for attempt in range(ATTEMPTS):
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:
                return _checked(url, json.loads(reply.read()), len(queries))
        except urllib.error.HTTPError as error:
            problem = f"status {error.code}: {error.read(2000).decode(errors='replace')}"
            if error.code != 503:
                raise RewardUnavailableError(f"{url}: {problem}") from error
        except (OSError, ValueError) as error:
            problem = str(error)
        if attempt + 1 < ATTEMPTS:
            time.sleep(min(0.25 * 2**attempt, 15.0))
    raise RewardUnavailableError(
        f"{url}: no reward after {ATTEMPTS} attempts ({problem}). Is `hrlaif serve-reward` up?"
    )


def _checked(url: str, answer: Any, rows: int) -> dict[str, Any]:
    rewards = answer.get("rewards") if isinstance(answer, dict) else None
    if not isinstance(rewards, list) or len(rewards) != rows or not all(map(_is_number, rewards)):
        raise RewardUnavailableError(f"{url}: asked for {rows} rewards, got {str(answer)[:200]}")
    return dict(answer)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def reward_func(queries: list[str], prompts: list[str], labels: list[str]) -> dict[str, Any]:
    """OpenRLHF's hook (`--reward.remote_url reward.py`)."""
    return ask(queries, prompts, labels)


def trl_reward(prompts: list[Any], completions: list[Any], label: list[str], **_: object) -> list[float]:
    """TRL's hook (`reward_funcs: [reward.trl_reward]`): one reward per completion. `label` is the data's column."""
    asked = [prompt if isinstance(prompt, str) else prompt[-1]["content"] for prompt in prompts]
    given = [text if isinstance(text, str) else text[-1]["content"] for text in completions]
    queries = [prompt + text for prompt, text in zip(asked, given, strict=True)]
    return [float(reward) for reward in ask(queries, asked, label)["rewards"]]
