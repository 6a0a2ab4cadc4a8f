"""How far a model strays from what really happened, and what its numbers mean."""
