"""Caches: what they answered, what they computed, and what of a prompt repeats."""
