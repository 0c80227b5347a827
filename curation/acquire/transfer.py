"""What every download has in common: take up the bytes of an earlier try, check, and try again."""

from __future__ import annotations

from collections.abc import Callable

from curation.acquire.failures import GivenUpError, TryAgainError, WrongBytesError
from curation.acquire.http import Patience, persist
from curation.acquire.part_file import PartFile
from curation.sizes import human_size

# A try that brought this much more than any before is progress, and the count of tries starts again.
PROGRESS_BYTES = 2**22


def transfer(url: str, part: PartFile, patience: Patience, append: Callable[[str | None], None]) -> None:
    """Fill `part` with the bytes at `url` and check them.

    The part of an earlier try is taken up where it ended, if the server still has the same file or the catalogue has a
    checksum that will tell.

    Parameters
    ----------
    url : str
        Names the origin in the part's record.
    part : PartFile
    patience : Patience
    append : callable
        Takes what `PartFile.resume` returned, and appends what is missing.

    Raises
    ------
    GivenUpError
        The address is wrong, the server stays busy, or the bytes are not the file.
    InputError
        The disk has no room.
    """
    longest = 0

    def attempt() -> None:
        nonlocal longest
        validator = part.resume(url)
        before = part.size
        try:
            append(validator)
            part.check()
        except WrongBytesError as error:
            if not part.reject() or not before:
                raise GivenUpError(str(error)) from None
            # The bytes of an earlier try may have been the wrong ones: once more from the first byte.
            raise TryAgainError(f"{error}; dropping the {human_size(before)} of an earlier try") from None
        except TryAgainError as error:
            error.progress = part.size >= longest + PROGRESS_BYTES
            raise
        finally:
            longest = max(longest, before, part.size)

    persist(attempt, patience)
