"""Reference components that make agents fast: standard library only, each file may be copied."""
