"""How what strangers wrote is read: numbers, rotations and films, checked as they come in."""
