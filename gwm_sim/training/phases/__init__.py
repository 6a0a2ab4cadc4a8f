"""What is learned, part by part; `trainer.py` says how."""
