"""Tokens that one call used, and what they cost."""

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

__all__ = ["Price", "Usage"]

Known = TypeVar("Known", int | None, float | None)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one call of a model, or of an agent, used.

    Attributes:
        input_tokens: Tokens sent, those read from the provider's cache included; None: unknown.
        output_tokens: Tokens received, those of reasoning included; None: unknown.
        cached_tokens: The part of `input_tokens` that came from the provider's cache.
        model: The model's name as the provider spells it, or None.
        cost: Dollars, where the response itself states them.
        total: Tokens in both directions, where only their sum is known.
    """

    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int = 0
    model: str | None = None
    cost: float | None = None
    total: int | None = None

    @property
    def total_tokens(self) -> int:
        """Tokens in both directions."""
        return self.total or (self.input_tokens or 0) + (self.output_tokens or 0)

    def __add__(self, other: "Usage") -> "Usage":
        """Return the usage of both; what one of them does not know the sum does not either."""
        return Usage(
            _sum(self.input_tokens, other.input_tokens),
            _sum(self.output_tokens, other.output_tokens),
            self.cached_tokens + other.cached_tokens,
            self.model or other.model,
            _sum(self.cost, other.cost),
            self.total_tokens + other.total_tokens,
        )


def _sum(one: Known, other: Known) -> Known:
    return None if one is None or other is None else one + other


class Price(NamedTuple):
    """What a model charges, in dollars for a million tokens.

    Attributes:
        input: For tokens sent.
        output: For tokens received.
        cached_input: For tokens read from the provider's cache; None: as much as `input`.
    """

    input: float
    output: float
    cached_input: float | None = None

    def of(self, usage: Usage) -> float | None:
        """Return the dollars that *usage* costs, None where it knows only the sum of tokens."""
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        cached = self.input if self.cached_input is None else self.cached_input
        fresh = usage.input_tokens - usage.cached_tokens
        dollars = fresh * self.input + usage.cached_tokens * cached
        return (dollars + usage.output_tokens * self.output) / 1_000_000
