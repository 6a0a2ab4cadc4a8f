"""Test suites for policies, planners and robots of one's own: inherit one and say what to test."""
