"""One verifier per task, for one response or a stream of them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future

from hrlaif.errors import DataError
from hrlaif.types import Prompt, Response, Task, Verification
from hrlaif.verifiers.choice import verify_choice
from hrlaif.verifiers.math import Relate, verify_math
from hrlaif.verifiers.quantity import Match
from hrlaif.verifiers.short import verify_short
from hrlaif.verifiers.solver import LIMIT_S, Pool, shared

WINDOW = 512


class _NeedsSolverError(Exception):
    """A comparison that only a worker process can make."""


def verify(prompt: Prompt, response: Response) -> Verification:
    """The verification of one response by the verifier of its prompt's task.

    A symbolic comparison runs in this process's one worker, at most `solver.LIMIT_S` seconds; any thread may call.

    Raises:
        DataError: The prompt's task cannot be verified, or it has no (usable) reference.
    """
    return _verify(prompt, response, shared().relate)


def verify_many(
    items: Iterable[tuple[Prompt, Response]], *, workers: int | None = None, limit_s: float = LIMIT_S
) -> Iterator[Verification]:
    """The verifications of a stream of responses, in its order, as they become ready.

    Everything cheap happens here; only symbolic comparisons go to `workers` processes (by default one per CPU, started
    when needed). One that takes more than `limit_s` seconds of processor time loses its worker and becomes UNREADABLE;
    the others go on.

    Raises:
        DataError: As `verify`, at the item that is at fault.
    """
    pending: deque[Verification | Future[Verification]] = deque()
    with Pool(workers or _cpus(), limit_s=limit_s) as pool:
        for prompt, response in items:
            try:
                pending.append(_verify(prompt, response, _ask_later))
            except _NeedsSolverError:
                pending.append(pool.submit(_verify, prompt, response))
            while pending and (len(pending) >= WINDOW or _is_ready(pending[0])):
                yield _result(pending.popleft())
        while pending:
            yield _result(pending.popleft())


def _verify(prompt: Prompt, response: Response, relate: Relate) -> Verification:
    if prompt.reference is None or not prompt.reference.strip():
        raise DataError(
            f"prompt {prompt.id!r} has no reference to verify against. Add one, or label it as an open prompt."
        )
    try:
        if prompt.task is Task.MATH:
            outcome, found = verify_math(prompt.reference, response.text, finish=response.finish, relate=relate)
        elif prompt.task is Task.CHOICE:
            outcome, found = verify_choice(
                prompt.reference,
                response.text,
                choices=prompt.choices,
                question=prompt.question,
                finish=response.finish,
            )
        elif prompt.task is Task.SHORT:
            outcome, found = verify_short(
                prompt.reference, response.text, question=prompt.question, finish=response.finish
            )
        else:
            raise DataError(f"task {prompt.task.value!r} has no final answer to verify. Use math, choice or short.")
    except DataError as error:
        raise DataError(f"prompt {prompt.id!r}: {error}") from error
    return Verification(response.id, outcome, found, f"rule:{prompt.task.value}")


def _ask_later(reference: str, found: str) -> Match:
    raise _NeedsSolverError


def _is_ready(item: Verification | Future[Verification]) -> bool:
    return isinstance(item, Verification) or item.done()


def _result(item: Verification | Future[Verification]) -> Verification:
    return item if isinstance(item, Verification) else item.result()


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
