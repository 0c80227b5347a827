"""The one error that the curation commands show to their user."""


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
