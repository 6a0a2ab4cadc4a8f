"""Episodes in the formats of others: the way back from `gwm_sim.data.importers`, in its words.

Each format is a module with a function that writes `Recordings` to a path which does not exist yet, and a constant
`FORMAT`, by which `gwm_sim.data.formats` finds it. Core packages only; LeRobot data also needs pyarrow and pandas, from
the extra `[data]`. Imagined episodes say in every format who imagined them.
"""
