"""A source becomes episodes: one rate, no gaps in time, and angles without jumps."""
