"""The regression gate: evidence gathered from tests, held against a revision or a history."""
