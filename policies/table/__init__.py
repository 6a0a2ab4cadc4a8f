"""Policies of the table world: experts, motions, and behaviours of mixed quality."""
