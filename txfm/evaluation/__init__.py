"""What makes one corpus, one model or one baseline better than another: benchmarks and their metrics.

The names below stay; each is imported when it is first asked for, so that `import txfm` stays light.
"""

import importlib
from typing import Any

NAMES: dict[str, str] = {}
__all__ = list(NAMES)


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *NAMES])
