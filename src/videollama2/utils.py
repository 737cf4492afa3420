"""What the released package's scripts import from `videollama2.utils`, besides its two calls."""


def disable_torch_init() -> None:
    """Nothing is left to do: released scripts call it so that no weights are drawn in vain.

    They never are here: `model_init` makes modules without weights and fills them from the files.
    """
