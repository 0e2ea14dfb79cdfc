"""Spans: what is in flight, what overlaps, what could."""
