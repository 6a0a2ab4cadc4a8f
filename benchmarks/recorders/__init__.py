"""Worlds of other packages, filmed as one films a robot: one module per world. `benchmarks/record.py` writes them down.

Nothing here needs gwm_sim, except for Fetch: each world is recorded in an environment of its own.
"""
