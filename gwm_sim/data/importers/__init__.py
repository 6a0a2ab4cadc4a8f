"""Recordings in the formats of others, as episodes.

Each format is a module with a `Source` and a constant `FORMAT`, by which `gwm_sim.data.formats` finds it. Core packages
only; LeRobot data also needs pyarrow, from the extra `[data]`. Nothing is ever unpickled, no link is followed, and what
is wrong with a file is said by a `DataError` that names file and place.
"""
