"""How an answer is chosen, token by token."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SamplingSettings:
    """What one row of a batch is decoded with.

    `temperature` 0 takes the likeliest token (greedy, deterministic); above 0 a token is drawn,
    from the smallest set of tokens that holds `top_p` of the probability, and from the `top_k`
    likeliest where `top_k` is above 0. The same `seed` draws the same tokens, whatever else is in
    the batch. `repetition_penalty` divides the scores of tokens already generated. Generation
    stops at the model's stop tokens, where one of `stop_strings` appears, or after
    `max_new_tokens`.

    Raises:
        ValueError: a value is out of its range, naming it.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 0.9
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop_strings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 1, "at least 1")
        _check("temperature", self.temperature, self.temperature >= 0, "0 (greedy) or above")
        _check("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1")
        _check("top_k", self.top_k, self.top_k >= 0, "0 (off) or above")
        penalty = self.repetition_penalty
        _check("repetition_penalty", penalty, penalty > 0, "above 0 (1 is off)")
        _check("stop_strings", self.stop_strings, all(self.stop_strings), "not empty")

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken each time."""
        return self.temperature == 0


def _check(name: str, value: object, good: bool, range_: str) -> None:
    if not good:
        raise ValueError(f"{name} is {value!r}: it must be {range_}")
