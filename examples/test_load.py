"""The agent's HTTP service under load: many users, a spike, an open rate, and a server that stalls.

The service runs in a process of its own; these tests say what its clients see.
"""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio
from load_service import LoadService

from pytest_agentperf import PerfLoad, Scenario

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with LoadService() as service:
        yield service.url


@pytest_asyncio.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)  # the load says how many there are at once
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as client:
        yield client


async def ask(client: httpx.AsyncClient, path: str) -> None:
    (await client.get(path)).raise_for_status()


# Users read an answer before they ask again: 100 of them ask 35 times a second, not 120 times.
@pytest.mark.perf_budget(p95="3s", error_rate="0.1%")
async def test_hundred_users(perf_load: PerfLoad, client: httpx.AsyncClient) -> None:
    result = await perf_load(
        ask, client, "/tools", users=100, ramp_up="2s", duration="5s", think_time=("1s", "3s")
    )
    assert result.in_flight_max < 100


# A budget for all, and one for each scenario by its name.
@pytest.mark.perf_budget(error_rate="0.1%")
@pytest.mark.perf_budget("simple", p95="2s")
@pytest.mark.perf_budget("tools", p95="3s")
async def test_mixed_questions(perf_load: PerfLoad, client: httpx.AsyncClient) -> None:
    mix = [
        Scenario(ask, client, "/simple", name="simple", weight=3),
        Scenario(ask, client, "/tools", name="tools"),
    ]
    result = await perf_load(mix, users=20, duration="4s", think_time="100ms")
    assert result.scenarios["simple"].latency.p50 < result.scenarios["tools"].latency.p50


# Ten times the rate for a second; whatever came of the spike is told apart.
@pytest.mark.perf_budget(error_rate="0.1%")
@pytest.mark.perf_budget("stage 2", p95="5s")
async def test_spike(perf_load: PerfLoad, client: httpx.AsyncClient) -> None:
    stages = "0s:10/s,1s:10/s,0s:100/s,1s:100/s,0s:10/s,1s:10/s"
    result = await perf_load(ask, client, "/simple", stages=stages, each="stage")
    before, spike, after = result.stages
    assert (before.calls, spike.calls, after.calls) == (10, 100, 10)


# Strangers do not wait for each other: their calls come at random, whatever has ended.
@pytest.mark.perf_budget(p95="2s", error_rate="0.1%", goodput="10/s")
async def test_open_rate(perf_load: PerfLoad, client: httpx.AsyncClient) -> None:
    result = await perf_load(
        ask, client, "/simple", rate="30/s", duration="3s", arrivals="poisson",
        deadline="5s", goodput={"latency": "1s"},
    )  # fmt: skip
    assert result.model == "open"


# A server that stalls for half a second keeps each user of a closed load waiting once, and they
# are two; of an open load it keeps everybody waiting who comes in that time: a fifth of all.
async def test_stall_that_only_an_open_load_shows(
    perf_load: PerfLoad, client: httpx.AsyncClient
) -> None:
    closed = await perf_load["closed"](ask, client, "/stalling", users=2, duration="5s")
    opened = await perf_load["open"](ask, client, "/stalling", rate="50/s", duration="5s")
    assert closed.latency.p99 < 0.25
    assert opened.latency.p99 > 0.40
