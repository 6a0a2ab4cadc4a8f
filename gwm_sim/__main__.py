"""`python -m gwm_sim VERB` is `gwm VERB`."""

import sys

from gwm_sim.cli import main

if __name__ == "__main__":
    sys.exit(main())
