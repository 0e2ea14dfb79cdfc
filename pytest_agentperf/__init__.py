"""Performance tests for agents: timed calls, streams, tokens, cost and budgets, in pytest."""
