"""Where tracked things are in metres."""
