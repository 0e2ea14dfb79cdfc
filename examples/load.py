"""A model under load, without a test; each of these is a load of its own.

    cd examples
    agentperf bench load:ask --users 20 --duration 3s --perf-set p95=2s --perf-set error_rate=1%
    agentperf bench load:stream --rate 50/s --duration 3s --perf-set ttft_p95=1s
    agentperf bench load:stream --stages "2s:10,2s:40,1s:0" --report load.json
    agentperf bench load:ask --users 20 --duration 3s --workers 2

Each process starts a model of its own, which needs 20 ms to the first token and 2 ms between
tokens; in a project of your own the functions would call yours.
"""

from collections.abc import AsyncIterator

from openai import AsyncOpenAI

from pytest_agentperf import LLMServer

MODEL = LLMServer(ttft="20ms", itl="2ms").start()
CLIENT = AsyncOpenAI(base_url=MODEL.url, api_key="unused")
COMPLETIONS = CLIENT.chat.completions  # imported now, and not by the first call


async def ask() -> str | None:
    """Return the model's answer."""
    answer = await COMPLETIONS.create(model="any", messages=[{"role": "user", "content": "Hello"}])
    return answer.choices[0].message.content


async def stream() -> AsyncIterator[str]:
    """Yield the model's answer word by word: loads of streams have `ttft` and `itl`."""
    chunks = await COMPLETIONS.create(
        model="any", messages=[{"role": "user", "content": "Hello"}], stream=True
    )
    async for chunk in chunks:
        if chunk.choices:
            yield chunk.choices[0].delta.content or ""
