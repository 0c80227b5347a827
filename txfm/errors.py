"""The one error type for wrong input."""


class InputError(ValueError):
    """What the user gave is wrong; the message says what, where, expected, found and what to do.

    Parameters
    ----------
    what : str
        One sentence that names the fault.
    where, expected, found, todo : str
        Optional labelled lines; an empty one is left out.
    """

    def __init__(self, what: str, *, where: str = "", expected: str = "", found: str = "", todo: str = "") -> None:
        labelled = (("where", where), ("expected", expected), ("found", found), ("do", todo))
        lines = [f"error: {what}"] + [f"  {label}: {text}" for label, text in labelled if text]
        super().__init__("\n".join(lines))
        self.what = what
        self.found = found
        self.todo = todo
