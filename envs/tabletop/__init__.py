"""What worlds on a table share."""
