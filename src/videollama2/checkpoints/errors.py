"""What goes wrong with a checkpoint, said with file, reason and remedy."""


class CheckpointError(ValueError):
    """A checkpoint cannot be read, does not fit, or cannot be written.

    `name` is the file, folder or hub id, `reason` what is wrong, `remedy` what to do.
    """

    def __init__(self, name: object, reason: str, remedy: str = "") -> None:
        self.name = str(name)
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{self.name}: {reason}" + (f". {remedy}" if remedy else ""))
