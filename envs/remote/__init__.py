"""Worlds that another process imagines, served by `gwm serve`: what a client needs, numpy and Gymnasium alone."""
