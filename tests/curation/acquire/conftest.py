"""The loopback internet, for every test of this folder."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from curation.acquire import host_limits
from curation.acquire.host_limits import HostLimit


def _loopback() -> ModuleType:
    """Load what tests hold of the server; they import it as `loopback`."""
    name = "loopback"
    if name not in sys.modules:
        path = Path(__file__).parent / "internet" / "loopback.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


loopback = _loopback()


@pytest.fixture(scope="session")
def running_internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One server for the session."""
    running = loopback.Internet(tmp_path_factory.mktemp("internet"))
    yield running
    running.close()
    assert "Traceback" not in running.printed, running.printed


@pytest.fixture
def internet(running_internet: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the loopback internet the only one that this process and its children reach; it is empty at first."""
    running_internet.reset()
    for name, value in running_internet.env().items():
        monkeypatch.setenv(name, value)
    return running_internet


@pytest.fixture
def no_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let requests to one host follow each other at once; the caps on connections stay."""
    limits = {name: HostLimit(parallel=limit.parallel, interval_s=0) for name, limit in host_limits.LIMITS.items()}
    monkeypatch.setattr(host_limits, "LIMITS", limits)
