"""What demonstrations tell a planner."""
