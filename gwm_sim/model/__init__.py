"""The world model: from real frames to imagined ones."""
