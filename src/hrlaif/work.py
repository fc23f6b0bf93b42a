"""Training in several processes: started here, or by `torchrun` on one or more hosts.

One process leads: it has the run folder open, and every stage but the trainings happens in it alone. For a training it
puts up an order, and all processes carry it out together. Started by `torchrun`, the first process leads and trains,
and the others follow. Started here (`processes` in the configuration), all that train follow, and the process that
started them leads: it watches them, and ends all once one has failed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hrlaif import config as configuration
from hrlaif.errors import HrlaifError, LostError, ModelError
from hrlaif.run import Run, needs_extra

if TYPE_CHECKING:
    from hrlaif.nn.processes import Board

Trainings = Mapping[str, Callable[[Run, str, Path], None]]
FOLLOW = (sys.executable, "-c", "from hrlaif.cli import follow; follow()")
POLL_S = 0.1
# How long the others get to say why they fail, once one has failed.
GRACE_S = 3.0


@dataclass(frozen=True, slots=True)
class Order:
    """One training: which, of what run folder, for which folder in it (an arm's or a round's), and what it fills."""

    training: str
    run: str
    home: str
    out: str


def train(run: Run, order: Order, trainings: Trainings) -> None:
    """Carry out one training, in as many processes as the configuration or `torchrun` says.

    Raises:
        ModelError: One of several processes failed; the message says which and why. All have ended.
    """
    from hrlaif.nn import processes

    # Here and once: the bundled model may have to be fetched first.
    _ = run.base_model
    if processes.is_started_as_one_of_several(os.environ):
        board = processes.board()
        number = board.order(dataclasses.asdict(order))
        _perform(run, order, board, number, trainings)
        return
    count = run.config.processes or processes.gpus_here(run.config.model.device) or 1
    if count == 1:
        trainings[order.training](run, order.home, Path(order.out))
    else:
        processes.release_memory()
        launch(order, count, threads=run.config.threads)


def _perform(run: Run, order: Order, board: Board, number: int, trainings: Trainings) -> None:
    try:
        with board.joined(number, device=run.config.model.device):
            trainings[order.training](run, order.home, Path(order.out))
    except Exception as error:
        if _is_mine_to_say(error, board):
            raise
        raise SystemExit(2) from error


def _is_mine_to_say(error: BaseException, board: Board) -> bool:
    """Of several processes that fail one says why: not those that only lost the one that failed."""
    if not isinstance(error, LostError):
        reason = str(error) if isinstance(error, HrlaifError) else traceback.format_exc()
        return board.blame(reason, key="failed")
    said: list[bool] = []
    asking = threading.Thread(target=lambda: said.append(_is_first_of_the_lost(error, board)), daemon=True)
    asking.start()
    # A board behind a cut cable answers nothing for a quarter of an hour, until the system gives the connection up.
    asking.join(3 * GRACE_S)
    return said[0] if said else True


def _is_first_of_the_lost(error: LostError, board: Board) -> bool:
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline:
        if board.blamed("failed") is not None:
            return False
        time.sleep(POLL_S)
    return board.blame(str(error), key="lost")


def together(command: Callable[[], object], trainings: Trainings) -> None:
    """Run a command as one of the processes that `torchrun` started; all end with the exit code of the first."""
    with needs_extra("train"):
        from hrlaif.nn import processes
    if not processes.is_started_as_one_of_several(os.environ):
        command()
    elif os.environ["RANK"] != "0":
        follow(trainings, tell=lambda text: print(text, file=sys.__stderr__, flush=True))
    else:
        board, code = processes.board(), 2
        try:
            command()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
            raise
        finally:
            board.order({"end": code})
            # This process may host the board: the others have to have read that before it ends.
            deadline = time.monotonic() + GRACE_S
            while board.finished() < int(os.environ["WORLD_SIZE"]) - 1 and time.monotonic() < deadline:
                time.sleep(POLL_S)


def follow(trainings: Trainings, *, tell: Callable[[str], None] | None) -> None:
    """Carry out the orders of the process that leads, until it says that this was all; then exit as it does.

    Progress and warnings come from the first process only. `tell` gets the one message of a failure, if this process
    is the one to say it.
    """
    code = 2
    try:
        with contextlib.ExitStack() as stack:
            if os.environ["RANK"] != "0":
                stack.enter_context(contextlib.redirect_stderr(stack.enter_context(open(os.devnull, "w"))))
            if tell is None:
                threading.Thread(target=_end_with_parent, daemon=True).start()
            code = _follow(trainings)
    except HrlaifError as error:
        if tell is not None:
            tell(f"error: {error}")
    except SystemExit:
        pass
    except KeyboardInterrupt:
        code = 130
    except Exception:
        if tell is not None:
            tell(traceback.format_exc())
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of a communicator whose other side is gone can hold an ordinary exit up for minutes.
    os._exit(code)


def _follow(trainings: Trainings) -> int:
    from hrlaif.nn import processes

    board = processes.board()
    for number in itertools.count(1):
        while (values := board.ordered(number)) is None:
            time.sleep(POLL_S)
        if "end" in values:
            board.finish()
            return int(values["end"])
        order = Order(**values)
        config = configuration.load(Path(order.run) / "config.toml")
        run = Run(config.model_copy(update={"run_dir": order.run}))
        _perform(run, order, board, number, trainings)
    raise AssertionError


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: its end of our standard input is then closed."""
    os.read(0, 1)
    os._exit(2)


def launch(order: Order, count: int, *, threads: int = 0, command: Sequence[str] = FOLLOW) -> None:
    """Start processes on this machine, have them carry out one order, and see to it that all end.

    Raises:
        ModelError: One failed or was killed. The others have been ended; checkpoints are kept.
    """
    from hrlaif.nn import processes

    board = processes.new_board()
    board.order(dataclasses.asdict(order))
    board.order({"end": 0})
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(_started(command, rank, count, port=board.port, threads=threads))
            for rank in range(count)
        ]
        children = [child for child, _ in started]
        while any(child.poll() is None for child in children) and not any(child.poll() for child in children):
            time.sleep(POLL_S)
        deadline = time.monotonic() + GRACE_S
        failed = [rank for rank, child in enumerate(children) if child.poll()]
        while failed and board.blamed("failed") is None and time.monotonic() < deadline:
            if any(child.returncode and child.returncode < 0 for child in children):
                break
            time.sleep(POLL_S)
        if failed:
            tails = [_tail(file) for _, file in started]
            raise ModelError(_why(order, children, tails, board))


def _why(order: Order, children: Sequence[subprocess.Popen[bytes]], tails: Sequence[str], board: Board) -> str:
    """What to tell of processes of which at least one has failed: its own words, or what ended it."""
    if (reason := board.blamed("failed")) is not None:
        return reason
    codes = [child.poll() for child in children]
    died = [rank for rank, code in enumerate(codes) if code is not None and code < 0]
    rank = died[0] if died else next(rank for rank, code in enumerate(codes) if code)
    code = codes[rank] or 0
    how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
    why = " Where nobody did that, the machine ran out of memory." if code == -signal.SIGKILL else ""
    said = f"\n{tails[rank]}" if tails[rank] else ""
    return (
        f"{order.training} ({order.home}): process {rank + 1} of {len(children)} {how}, so all were ended.{why} "
        f"Checkpoints are kept: run the same command again to continue.{said}"
    )


def _tail(file: BinaryIO | None) -> str:
    """The last lines that a process wrote to its standard error."""
    if file is None:
        return ""
    file.seek(0)
    return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-5:])


@contextlib.contextmanager
def _started(
    command: Sequence[str], rank: int, count: int, *, port: int, threads: int
) -> Iterator[tuple[subprocess.Popen[bytes], BinaryIO | None]]:
    """One process with the variables that `torchrun` would set, killed at the end; and what it writes, if hidden."""
    each = max(1, (threads or os.cpu_count() or 1) // count)
    environment = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "OMP_NUM_THREADS": str(each),
    }
    if "lo" in (name for _, name in socket.if_nameindex()):
        # Otherwise gloo looks the machine's own name up, which not every machine has an address for.
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with contextlib.ExitStack() as stack:
        # The first one's progress is for the user to see; of the others only what a crash may say is worth keeping.
        hidden = stack.enter_context(tempfile.TemporaryFile()) if rank else None
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=2, stderr=hidden, start_new_session=True
        )
        try:
            yield child, hidden
        finally:
            child.kill()
            child.communicate()
