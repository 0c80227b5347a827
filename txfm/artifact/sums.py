"""Size and sha256 of a file, as model.json states them."""

import hashlib
from pathlib import Path


def sums_of(path: Path) -> dict[str, int | str]:
    """``{"bytes": n, "sha256": hex}`` of a file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
