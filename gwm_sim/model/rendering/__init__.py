"""Pictures of states: as latents by a transformer, or put together from a reference."""
