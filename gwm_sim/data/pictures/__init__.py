"""Films and pictures of strangers: frames by number and time, upright, in eight bits of three colours, or as depth."""
