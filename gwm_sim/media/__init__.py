"""Pictures and films of arrays: knows nothing of models, episodes or worlds."""
