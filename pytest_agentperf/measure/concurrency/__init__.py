"""The recorders of concurrency: what blocks the loop, what overlaps, what waits, what leaks."""
