"""The processes that train one model together (ranks): what they share, and how all end when one of them fails.

Ranks are started by torchrun or by `--ranks` (launch.py), which set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.
Their messages to each other are tensors; nothing is ever pickled.
"""

import json
import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from txfm.errors import InputError
from txfm.training.exit_codes import EXIT_FAILED, EXIT_LOST_A_RANK, EXIT_WRONG_INPUT

# Rank 0 validates and writes checkpoints while the others wait. A rank that ends is noticed at once, by its closed
# socket; this is for one that hangs.
TIMEOUT = timedelta(minutes=30)

Made = TypeVar("Made")


class RankLostError(Exception):
    """Another rank has ended, and has said why."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among the ranks of a training. What exchanges data is called by all ranks, in the same order."""

    rank: int = 0
    world: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which alone prints and writes."""
        return self.rank == 0

    def share_of_batch(self, batch_size: int) -> int:
        """Samples that each rank has of a global batch.

        Raises
        ------
        InputError
            The batch cannot be divided evenly.
        """
        if batch_size % self.world:
            divisors = [n for n in range(1, batch_size + 1) if batch_size % n == 0]
            fewer = max(n for n in divisors if n < self.world)
            rounded = max(1, round(batch_size / self.world)) * self.world
            raise InputError(
                f"A batch of {batch_size} samples cannot be divided evenly over {self.world} ranks",
                where="model field batch_size_samples",
                expected=f"a multiple of {self.world}, such as {rounded}",
                found=str(batch_size),
                todo=f"use {fewer} ranks, or change the batch size (another batch size is another training)",
            )
        return batch_size // self.world

    def sums(self, numbers: Sequence[int]) -> list[int]:
        """Element-wise sum over the ranks, on the host: a GPU is not waited for, a rank that has ended is noticed."""
        if self.world == 1:
            return list(numbers)
        totals = torch.tensor(list(numbers), dtype=torch.int64)
        dist.all_reduce(totals)
        return [int(total) for total in totals]

    def smallest(self, number: int) -> int:
        """The smallest of the ranks' numbers."""
        if self.world == 1:
            return number
        least = torch.tensor(number, dtype=torch.int64)
        dist.all_reduce(least, dist.ReduceOp.MIN)
        return int(least)

    def add_up(self, values: torch.Tensor) -> torch.Tensor:
        """Replace values on the device by their sum over the ranks."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def from_main(self, make: Callable[[], Any]) -> Any:
        """What `make` returns on rank 0, as json, on every rank.

        Raises
        ------
        RankLostError
            On the other ranks, if `make` failed on rank 0.
        """
        if self.world == 1:
            return make()
        if not self.is_main:
            text = _receive_bytes()
            if not text:
                raise RankLostError
            return json.loads(text)
        try:
            answer = make()
        except BaseException:
            _send_bytes(b"")
            raise
        _send_bytes(json.dumps(answer).encode())
        return answer

    def after_main(self, make: Callable[[], Made]) -> Made:
        """Call `make` on rank 0 and then on the others: what fails on all is said once.

        Raises
        ------
        RankLostError
            On the other ranks, if `make` failed on rank 0.
        """
        made: list[Made] = []
        self.from_main(lambda: made.append(make()))
        return made[0] if made else make()

    def copy_from_main(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrite tensors by those of rank 0."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)


@contextmanager
def join_ranks(uses_cuda: bool) -> Iterator[Ranks]:
    """Join the ranks that the environment describes; one process alone if it describes none.

    Within it, only rank 0 prints to standard output. A rank that fails says so, with its number, and leaves the process
    at once (exit code 2 for an `InputError`, else 1): a collective that waits for it elsewhere would never end. The
    others leave when they notice.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise InputError(
            "The environment describes one of several ranks, but not which",
            expected="RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as torchrun sets them",
            found=f"WORLD_SIZE={world} without {', '.join(missing)}",
            todo="start with torchrun or --ranks, or unset WORLD_SIZE",
        )
    ranks = Ranks(rank=int(os.environ["RANK"]), world=world)
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if uses_cuda else "gloo", timeout=TIMEOUT)
        if ranks.is_main:
            yield ranks
        else:
            with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
                yield ranks
    except SystemExit:  # all ranks agreed to stop
        dist.destroy_process_group()
        raise
    except BaseException as error:
        _leave(ranks, error)
    dist.destroy_process_group()


def local_rank() -> tuple[int, int]:
    """This process' number among the ranks of its machine, and how many these are."""
    return int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _leave(ranks: Ranks, error: BaseException) -> None:
    name = f"rank {ranks.rank} of {ranks.world} on {socket.gethostname()}"
    code = EXIT_FAILED
    if isinstance(error, InputError):
        code = EXIT_WRONG_INPUT
        message = str(error) if ranks.is_main else f"{name}:\n{error}"
    elif isinstance(error, RankLostError) or _is_lost_connection(error):
        code = EXIT_LOST_A_RANK
        message = "" if isinstance(error, RankLostError) else f"{name} ends, because another rank did"
    else:
        message = f"{name} failed:\n" + "".join(traceback.format_exception(error))
    if message:
        print(message, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _is_lost_connection(error: BaseException) -> bool:
    """Whether a collective failed because another rank is gone: gloo and NCCL raise nothing more specific."""
    text = str(error).lower()
    signs = ("closed by peer", "reset by peer", "broken pipe", "socket closed", "remote process exited", "timed out")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)


def _send_bytes(content: bytes) -> None:
    dist.broadcast(torch.tensor(len(content), dtype=torch.int64), 0)
    if content:
        dist.broadcast(torch.frombuffer(bytearray(content), dtype=torch.uint8), 0)


def _receive_bytes() -> bytes:
    length = torch.zeros((), dtype=torch.int64)
    dist.broadcast(length, 0)
    content = torch.zeros(int(length), dtype=torch.uint8)
    if len(content):
        dist.broadcast(content, 0)
    return content.numpy().tobytes()
