"""Load: what happens when many call at once, at a rate, or in stages."""
