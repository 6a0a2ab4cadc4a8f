"""Which looks of a recording are things."""
