"""The verbs of `gwm` that need the model alone: `gwm X` is `commands/x.py`."""
