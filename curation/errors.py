"""The one error that the curation commands show to their user."""

import errno

# What to do about what the system refuses
ADVICE = {
    errno.EACCES: "get the right to do this there, or name another place",
    errno.EPERM: "get the right to do this there, or name another place",
    errno.EROFS: "name a place that can be written",
    errno.ENOTDIR: "a file lies where a folder is needed: name another place, or move the file",
    errno.EEXIST: "a file lies where a folder is needed: name another place, or move the file",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOENT: "correct the path",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ENOSPC: "make room on the disk, then run the same command again",
    errno.EDQUOT: "make room within your quota, then run the same command again",
    errno.EFBIG: "raise the limit of the size of a file (ulimit -f), or use a file system without one",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


class InputError(ValueError):
    """A mistake in something the user gave: a config, a sheet, a file or an address.

    Parameters
    ----------
    what
        The mistake in one sentence.
    where
        The file, config key or address in which it stands.
    expected
        What would have been right.
    found
        What stood there.
    todo
        What to do next.

    Notes
    -----
    ``str()`` gives one labelled line per part that is not empty, which is what the command line prints.
    """

    def __init__(self, what: str, *, where: str = "", expected: str = "", found: str = "", todo: str = "") -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.found = found
        self.todo = todo
        super().__init__(what)

    def __str__(self) -> str:
        parts = (
            ("error", self.what),
            ("where", self.where),
            ("expected", self.expected),
            ("found", self.found),
            ("do", self.todo),
        )
        return "\n".join(f"{label}: {text}" for label, text in parts if text)


def refusal_of_system(error: OSError) -> InputError:
    """Return what the operating system refused in the form in which users see their mistakes."""
    names = (error.filename, error.filename2)
    return InputError(
        error.strerror or str(error) or type(error).__name__,
        where=", ".join(str(name) for name in names if name is not None),
        todo=ADVICE.get(error.errno or 0, ""),
    )
