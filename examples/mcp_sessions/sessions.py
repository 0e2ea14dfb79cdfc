"""A pool of MCP sessions: several callers share each, a task of its own owns it, the dead go."""

import mcp
from mcp.types import CONNECTION_CLOSED

from pytest_agentperf.reference.pool import Pool
from pytest_agentperf.reference.sessions import OwnedSession

Session = OwnedSession[mcp.Client]


def session_pool(
    server: str | mcp.StdioServerParameters, *, sessions: int = 2, calls_per_session: int = 8
) -> Pool[Session]:
    """Return a pool of sessions with an MCP server, which take turns.

    Args:
        server: URL of a server over streamable HTTP, or how to start one over stdio.
        sessions: Sessions that are opened at the start and kept.
        calls_per_session: Callers that may use a session at once; it multiplexes their calls.
    """
    return Pool(
        lambda: OwnedSession.open(lambda: mcp.Client(server)),
        OwnedSession.close,
        is_broken=is_broken,
        validate=list_tools,
        validate_after=10,
        min_size=sessions,
        max_size=sessions,
        leases_per_connection=calls_per_session,
        acquire_timeout=10,
    )


def is_broken(owned: Session, error: BaseException | None) -> bool:
    """Tell whether the session ended, or a call found its server gone; failed tools are no sign."""
    is_cut = isinstance(error, mcp.MCPError) and error.code == CONNECTION_CLOSED
    return is_cut or owned.is_broken()


async def list_tools(owned: Session) -> None:
    """Ask the server something after a long silence: protocol 2026-07-28 has no ping."""
    await owned.session.list_tools(cache_mode="bypass")
