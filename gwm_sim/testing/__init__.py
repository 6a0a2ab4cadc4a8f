"""Conformance suites: what an import format, policy or robot of your own must keep to, as tests that you inherit."""
