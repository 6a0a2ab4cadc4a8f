"""Where the workers of a pool live: processes of this machine, or a Ray cluster."""
