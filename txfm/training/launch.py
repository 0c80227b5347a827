"""Starting several ranks on this machine (`--ranks N`), and ending all of them when one ends.

The ranks meet as those of torchrun do, by the same environment variables; torchrun is for several machines. What it
does not keep is our exit codes: 2 for wrong input, and the one of a training that was asked to stop.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from txfm.training.exit_codes import EXIT_FAILED, EXIT_LOST_A_RANK
from txfm.training.stopping import STOP_SIGNALS

LAUNCHER = "TXFM_LAUNCHER_PID"
GRACE_S = 20.0  # for the other ranks, after one has ended
POLL_S = 0.1

Rank = subprocess.Popen[bytes]


def is_rank() -> bool:
    """Whether torchrun or `launch` has started this process."""
    return "WORLD_SIZE" in os.environ


def launch(arguments: Sequence[str], n_ranks: int) -> None:
    """Run ``python -m txfm`` with these arguments in `n_ranks` processes.

    Raises
    ------
    SystemExit
        With the exit code of the rank that ended first for a reason of its own; if a signal ended it, standard error
        names it.
    """
    environment = os.environ | {
        "WORLD_SIZE": str(n_ranks),
        "LOCAL_WORLD_SIZE": str(n_ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        LAUNCHER: str(os.getpid()),
    }
    if sys.platform.startswith("linux"):
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the host's own name may lead nowhere
    command = [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m", "txfm", *arguments]
    ranks: list[Rank] = []
    previous = {number: signal.signal(number, lambda *call: _pass_on(ranks, *call)) for number in STOP_SIGNALS}
    try:
        for number in range(n_ranks):
            own = {"RANK": str(number), "LOCAL_RANK": str(number)}
            ranks.append(subprocess.Popen(command, env=environment | own))
        failed = _first_failure(ranks)
    finally:
        _end_all(ranks)
        for number, handler in previous.items():
            signal.signal(number, handler)
    if failed is None:
        return
    code = ranks[failed].returncode
    if code < 0:
        print(
            f"rank {failed} of {n_ranks} was ended by signal {-code} ({signal.Signals(-code).name}), and so the others "
            "were; the same command goes on from the last checkpoint",
            file=sys.stderr,
        )
    raise SystemExit(code if code > 0 else EXIT_FAILED)


def end_with_launcher() -> None:
    """Let the system send this rank SIGTERM when its launcher is gone, kill -9 included; Linux, started by `launch`."""
    if LAUNCHER not in os.environ or not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != int(os.environ[LAUNCHER]):  # it was gone before
        raise SystemExit(EXIT_LOST_A_RANK)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _pass_on(ranks: list[Rank], number: int, _: FrameType | None) -> None:
    """Pass a signal on to the ranks; Ctrl-C has reached them already, as they are in the terminal's foreground."""
    for rank in ranks:
        if number != signal.SIGINT:
            rank.send_signal(number)


def _first_failure(ranks: list[Rank]) -> int | None:
    """Wait for the end: None if all ranks end well, else the rank that failed by itself.

    Ranks that only lost another one may end before that one is seen to be gone.
    """
    deadline = None
    while True:
        codes = [rank.poll() for rank in ranks]
        for rank, code in enumerate(codes):
            if code not in (None, 0, EXIT_LOST_A_RANK):
                return rank
        if all(code == 0 for code in codes):
            return None
        if deadline is None and EXIT_LOST_A_RANK in codes:
            deadline = time.monotonic() + GRACE_S
        if None not in codes or (deadline is not None and time.monotonic() > deadline):
            return codes.index(EXIT_LOST_A_RANK)
        time.sleep(POLL_S)


def _end_all(ranks: list[Rank]) -> None:
    """End the ranks that still run: first so that they can say why, after a while for certain."""
    deadline = time.monotonic() + GRACE_S
    running = [rank for rank in ranks if rank.poll() is None]
    for rank in running:
        rank.terminate()
    for rank in running:
        try:
            rank.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            rank.kill()
            rank.wait()
