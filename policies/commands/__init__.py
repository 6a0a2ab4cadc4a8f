"""The verbs of `gwm` that need policies: `gwm X` is `commands/x.py`."""
