# An inner run would forget them and import them anew each time.
import httpcore  # noqa: F401 -- httpx does so late, and knows the errors of the first one alone
import openai  # noqa: F401

from tests.plugin.conftest import Project

AGENT = """
    import openai

    class Agent:
        def __init__(self, url):
            self.client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
        async def complete(self, question, **options):
            messages = [{"role": "user", "content": question}]
            return await self.client.chat.completions.create(
                model="m", messages=messages, **options
            )
        async def ask(self, question):
            await self.complete("plan: " + question)
            return await self.complete(question)
        async def stream(self, question):
            return await self.complete(
                question, stream=True, stream_options={"include_usage": True}
            )
"""


def test_llm_server_gives_an_agent_first_tokens_and_usage_to_measure(project: Project) -> None:
    project.write("agent.py", AGENT)
    project.tests("""
        from agent import Agent
        @pytest.mark.perf_budget(
            ttft_p50="1ms", itl_p50="60s", tokens_per_call=23, output_tokens_per_call=2,
            cost_per_call="$1",
        )
        @pytest.mark.asyncio
        async def test_stream(perf_timer, perf_llm_server):
            server = perf_llm_server(ttft="20ms", itl="2ms", text="Paris it is", tokens=3)
            agent = Agent(server.url)
            chunks = await perf_timer(agent.stream, "capital of France?")
            texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
            assert "".join(texts) == "Paris it is"
            assert len(server.requests) == perf_timer.latency.count + 1
            assert perf_timer.ttft.min >= 0.02
            await agent.client.close()
        @pytest.mark.perf_budget(llm_calls=1, tokens_per_call=22, latency="60s")
        @pytest.mark.asyncio
        async def test_ask(perf_timer, perf_llm_server):
            server = perf_llm_server(text="Paris", tokens=2)
            agent = Agent(server.url)
            perf_timer.count(agent, "complete", metric="llm_calls")
            answer = await perf_timer(agent.ask, "capital of France?")
            assert answer.choices[0].message.content == "Paris"
            assert server.in_flight_max == 1
            await agent.client.close()
    """)
    file = project.budgets("""
        [prices."m"]
        input = 10
        output = 10
    """)
    result = project.run(file)
    result.assert_outcomes(failed=2)
    assert project.statuses() == {
        "test_stream": {
            "ttft_p50": "failed",  # the server takes 20 ms
            "output_tokens_per_call": "failed",  # three
            "itl_p50": "passed",
            "tokens_per_call": "passed",  # 20 of the prompt, three of the answer
            "cost_per_call": "passed",
        },
        "test_ask": {
            "llm_calls": "failed",  # a plan and an answer
            "tokens_per_call": "passed",
            "latency_max": "passed",
        },
    }
    result.stdout.fnmatch_lines(
        [
            "p50 ttft was * ms, budget 1 ms (*",
            "output tokens per call was 3, budget 2 (*",
            "llm calls was 2, budget 1 (*",
        ]
    )


def test_llm_server_is_closed_when_the_session_ends(project: Project) -> None:
    project.tests("""
        import socket
        @pytest.fixture(scope="session", autouse=True)
        def port():
            found = []
            yield found
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", found[0]), timeout=5)
        @pytest.fixture(scope="session")
        def server(port, perf_llm_server):
            server = perf_llm_server()
            port.append(int(server.url.split(":")[2].split("/")[0]))
            return server
        def test_x(server):
            socket.create_connection(("127.0.0.1", int(server.url.split(":")[2][:-3]))).close()
    """)
    project.run().assert_outcomes(passed=1)
