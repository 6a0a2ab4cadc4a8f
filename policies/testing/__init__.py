"""Conformance suites of the contracts: inherit one in a test module, say how to make yours, and run pytest."""
