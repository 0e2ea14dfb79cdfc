"""Memory: what calls hold, what garbage collection costs, and how large objects are."""
