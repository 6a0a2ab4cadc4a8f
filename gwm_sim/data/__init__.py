"""Episodes: what a recording holds, how it is stored, and the formats of others."""
