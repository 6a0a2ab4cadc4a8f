"""The block world: two cubes on a table, its tasks, its twin in MuJoCo and its measures."""
