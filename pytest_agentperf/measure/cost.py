"""Cost: dollars for usage, from prices that somebody else keeps."""

from collections.abc import Mapping
from importlib.util import find_spec

from pytest_agentperf.core.usage import Price, Usage

__all__ = ["explain_unknown_cost", "price_usage"]


def price_usage(usage: Usage, prices: Mapping[str, Price]) -> float | None:
    """Return the dollars of *usage*, or None where nobody knows.

    The response's own figure comes first, then *prices* (the user's, by model), then the package
    genai-prices where it is installed.
    """
    if usage.cost is not None:
        return usage.cost
    if usage.model is None:
        return None
    if usage.model in prices:
        return prices[usage.model].of(usage)
    return _published_price(usage, usage.model)


def _published_price(usage: Usage, model: str) -> float | None:
    """Return the dollars of *usage* by genai-prices, or None where it does not know *model*."""
    if find_spec("genai_prices") is None:
        return None
    import genai_prices

    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    counts = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens,
    )
    try:
        return float(genai_prices.calc_price(counts, model_ref=model).total_price)
    except (LookupError, ValueError):  # no such model; counts that contradict each other
        return None


def explain_unknown_cost(usage: Usage | None) -> str:
    """Return why the cost of a call is unknown, and what to do."""
    if usage is None:
        return "its usage is unknown; give perf_timer.configure(usage=…) or (cost=…)"
    if usage.model is None:
        return "the response names no model; give perf_timer.configure(cost=…)"
    cure = f'add [prices."{usage.model}"] to the budget file'
    if find_spec("genai_prices") is None:
        cure += ", or pip install 'pytest-agentperf[cost]'"
    return f"model {usage.model!r} has no known price; {cure}"
