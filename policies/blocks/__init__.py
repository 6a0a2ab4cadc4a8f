"""Policies of the block world: experts, motions, and behaviours of mixed quality."""
