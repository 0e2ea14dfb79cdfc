"""Frozen records become text; nothing is measured or decided here."""
