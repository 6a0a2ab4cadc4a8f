"""Worlds that are not ours: where their episodes come from, how they are split, and what was found in them."""
