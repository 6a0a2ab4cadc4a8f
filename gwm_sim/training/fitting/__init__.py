"""What is fitted to the data beside the phases, in seconds: scales, exemplars, points of the robot, turns of things."""
