"""Typed views of what torch leaves untyped."""

from torch import Tensor


def integers(values_n: Tensor) -> list[int]:
    """(N,) -> N plain numbers."""
    return [int(value) for value in values_n.tolist()]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType, reportUnknownArgumentType]


def unflatten(x: Tensor, dim: int, sizes: tuple[int, ...]) -> Tensor:
    """`x` with dimension `dim` taken apart into `sizes`, one of which may be -1."""
    return x.unflatten(dim, sizes)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
