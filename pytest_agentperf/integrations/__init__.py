"""Bridges to the world outside: a test server that speaks the API of a model provider."""
