"""The verbs of `gwm` that need environments: `gwm X` is `commands/x.py`."""
