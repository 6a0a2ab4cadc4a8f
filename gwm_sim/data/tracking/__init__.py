"""Objects found in raw video: what moves, is not the robot, and looks alike in every episode."""
