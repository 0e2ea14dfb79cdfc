"""Pools and batchers: how full they were, who waited, and what was reused or never returned."""
