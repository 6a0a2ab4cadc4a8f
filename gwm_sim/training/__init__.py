"""From episode files to a world model."""
