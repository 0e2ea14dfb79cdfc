"""Was it good enough: measurements in, verdicts out; knows the core, and no recorder."""
