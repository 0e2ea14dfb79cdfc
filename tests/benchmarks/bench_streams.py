"""First token and gaps as the timer sees them, against the server's own timestamps."""

import statistics
from collections.abc import Callable
from typing import Any

import openai
import pytest

from pytest_agentperf import PerfTimer


@pytest.mark.asyncio
@pytest.mark.parametrize("repeat", range(5))
async def bench_stream_times(
    perf_timer: PerfTimer,
    perf_llm_server: Callable[..., Any],
    record_ratio: Callable[[str, str, float], None],
    repeat: int,
) -> None:
    server = perf_llm_server(ttft="50ms", itl="10ms", tokens=20)
    async with openai.AsyncOpenAI(base_url=server.url, api_key="test") as client:

        async def ask() -> Any:
            return await client.chat.completions.create(
                model="test", stream=True, messages=[{"role": "user", "content": "hello"}]
            )

        perf_timer.configure(rounds=20, warmup=1)
        await perf_timer(ask)
    requests = server.requests[1:]  # the first is the warmup
    ttft = statistics.median(request.ttft for request in requests)
    gaps = statistics.median(gap for request in requests for gap in request.itl)
    record_ratio("ttft, 50 ms: timer ÷ server", "0.95–1.05", perf_timer.ttft.p50 / ttft)
    record_ratio("itl, 10 ms: timer ÷ server", "0.95–1.05", perf_timer.itl.p50 / gaps)
    record_ratio("ttft: server ÷ scripted 50 ms", "shown", ttft / 0.05)
    record_ratio("itl: server ÷ scripted 10 ms", "shown", gaps / 0.01)
