"""Several processes that train one model together: which one this is, and what they tell each other.

Every process holds the whole model and works on its share of each batch; gradients are added up over all processes, so
a loss is always divided by the count of the whole batch, never by that of the share. A process that was started alone
is one of one, and everything here then does nothing.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import gc
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from hrlaif.errors import ConfigError, LostError, ModelError

Item = TypeVar("Item")
# How long one process waits for the others: longer than loading a model or writing a checkpoint can differ, and the
# last resort only. A process that dies is noticed at once.
PATIENCE = datetime.timedelta(minutes=20)
# Gradients are added up in pieces of this many numbers, so that the copy stays small beside the model.
PIECE = 1 << 24


def count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _is_joined() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return distributed.get_rank() if _is_joined() else 0


def _is_joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def is_main() -> bool:
    """True in the one process that writes files."""
    return rank() == 0


def share(items: Sequence[Item]) -> list[Item]:
    """The part of the items that is for this process: every `count()`-th, so that sorted items are dealt out evenly."""
    return list(items[rank() :: count()])


def gathered(thing: Item) -> list[Item]:
    """What each process has, in the order of ranks: the same list everywhere. Tensors in it must be on the CPU."""
    if count() == 1:
        return [thing]
    found: list[Any] = [None] * count()
    _together(lambda: distributed.all_gather_object(found, thing))
    return found


def rejoined(mine: Sequence[Item]) -> list[Item]:
    """What all processes made of their `share`, in the order of the items that were shared out."""
    parts = gathered(list(mine))
    return [parts[place % len(parts)][place // len(parts)] for place in range(sum(map(len, parts)))]


def summed(numbers: Mapping[str, float]) -> dict[str, float]:
    """Each number added up over all processes: the same, to the bit, everywhere. A process may lack some, or all."""
    parts = gathered(dict(numbers))
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}


def check_same(what: str, value: object) -> None:
    """Stop everywhere if the processes do not agree.

    Raises:
        ModelError: They do not; the message shows every process's value.
    """
    values = gathered(value)
    if any(other != values[0] for other in values):
        shown = ", ".join(map(str, values))
        raise ModelError(
            f"the processes of this training do not agree on {what}: {shown}. All must run the same versions and see "
            "the same files: on several hosts the run folder lies on a file system that they share."
        )


def sum_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Add the gradients up over all processes. One that a process has not got (its share was empty) counts as 0."""
    if count() == 1:
        return
    piece: list[torch.Tensor] = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if piece and (piece[0].dtype != parameter.grad.dtype or sum(map(torch.numel, piece)) > PIECE):
            _sum_in_place(piece)
            piece = []
        piece.append(parameter.grad)
    if piece:
        _sum_in_place(piece)


def _sum_in_place(tensors: Sequence[torch.Tensor]) -> None:
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    _together(lambda: distributed.all_reduce(flat))
    for tensor, sums in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(sums.view_as(tensor))


def _together(collective: Callable[[], object]) -> None:
    try:
        collective()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        # What torch raises here has no type of its own: a closed connection, a timeout, an aborted communicator.
        raise LostError(
            f"lost contact with another process of this training ({str(error).splitlines()[0]}). It was killed, or its "
            "machine or network is gone. Checkpoints are kept: run the same command again to continue."
        ) from error


def own_device(device: str) -> str:
    """The configured device as this process's own: one GPU for each process of a machine."""
    return device_of(device, local_rank=_local_rank(), processes=count(), gpus=torch.cuda.device_count())


def device_of(device: str, *, local_rank: int, processes: int, gpus: int) -> str:
    """The device of the process `local_rank` of its machine; what the configuration says where it is alone.

    Raises:
        ConfigError: Processes would have to share a GPU.
    """
    if processes == 1 or device == "cpu" or (device == "auto" and gpus == 0):
        return device
    if device not in ("auto", "cuda"):
        raise ConfigError(f"model.device: {device!r} for {processes} processes. Use auto or cuda: each takes its own.")
    if local_rank >= gpus:
        raise ConfigError(
            f"processes: more processes on this machine than its {gpus} GPU(s). Start one for each, or set "
            "model.device to cpu."
        )
    return f"cuda:{local_rank}"


def gpus_here(device: str) -> int:
    """GPUs of this machine that the configured device stands for."""
    return 0 if device == "cpu" else torch.cuda.device_count()


def release_memory() -> None:
    """Give GPU memory that is only kept for later back, before other processes want it."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def _local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_started_as_one_of_several(environment: Mapping[str, str]) -> bool:
    """True where `torchrun`, or anything that sets its variables, has started this process beside others."""
    named = all(environment.get(name) for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))
    return named and int(environment["WORLD_SIZE"]) > 1


class Board:
    """Where the processes of a job find each other: orders from the first to the others, and why it failed."""

    def __init__(self, store: TCPStore, attempt: str) -> None:
        self.port = int(store.port)
        # A launcher that restarts a job keeps its store, with the orders of the attempt that failed.
        self._store = PrefixStore(f"hrlaif/{attempt}", store)

    def order(self, values: Mapping[str, object]) -> int:
        """Put up the next order; returns its number, from 1."""
        number = self._store.add("orders", 1)
        self._store.set(f"order/{number}", json.dumps(values))
        return number

    def ordered(self, number: int) -> dict[str, Any] | None:
        """The order of that number, None where it is not there yet.

        Raises:
            LostError: The process that gives the orders is gone.
        """
        try:
            if not self._store.check([f"order/{number}"]):
                return None
            values: dict[str, Any] = json.loads(self._store.get(f"order/{number}"))
        except RuntimeError as error:
            raise LostError(
                "lost contact with the process that leads this training: it ended or was killed."
            ) from error
        return values

    def blame(self, reason: str, *, key: str) -> bool:
        """Say why the job fails; True for the first process that says so, whose reason counts."""
        with contextlib.suppress(RuntimeError):
            if self._store.add(f"{key}/said", 1) == 1:
                self._store.set(key, reason)
                return True
            return False
        # Nobody is left to agree with.
        return True

    def blamed(self, key: str) -> str | None:
        """The reason that counts, None where nobody has said one."""
        with contextlib.suppress(RuntimeError):
            if self._store.check([key]):
                return str(self._store.get(key).decode())
        return None

    def finish(self) -> None:
        """Tell the process that gives the orders that this one has read the last."""
        with contextlib.suppress(RuntimeError):
            self._store.add("finished", 1)

    def finished(self) -> int:
        """How many processes have read the last order."""
        return int(self._store.add("finished", 0))

    @contextlib.contextmanager
    def joined(self, number: int, *, device: str) -> Iterator[None]:
        """Be one of several while the block lasts; all processes enter it for the same order.

        Small things and CPU tensors go through gloo, GPU tensors through NCCL.
        """
        world, on_gpu = int(os.environ["WORLD_SIZE"]), device != "cpu" and torch.cuda.is_available()
        if on_gpu:
            gpus = torch.cuda.device_count()
            torch.cuda.set_device(device_of(device, local_rank=_local_rank(), processes=world, gpus=gpus))
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        store = PrefixStore(f"group/{number}", self._store)
        _together(
            lambda: distributed.init_process_group(
                backend, store=store, rank=int(os.environ["RANK"]), world_size=world, timeout=PATIENCE
            )
        )
        yield
        # Not after an error: the others may be in the middle of something, and this process is about to end.
        distributed.destroy_process_group()


@functools.cache
def board() -> Board:
    """The board of the job that this process was started for; kept, since the first process may host it."""
    environment = os.environ
    hosted = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = TCPStore(
        environment["MASTER_ADDR"],
        int(environment["MASTER_PORT"]),
        is_master=environment["RANK"] == "0" and not hosted,
        wait_for_workers=False,
        timeout=PATIENCE,
    )
    return Board(store, environment.get("TORCHELASTIC_RESTART_COUNT", "0"))


def new_board() -> Board:
    """A board on a free port of this machine, for processes that this one is going to start."""
    return Board(TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False), "0")
