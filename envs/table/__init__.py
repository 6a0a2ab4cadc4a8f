"""The table world: any of one to six cubes, balls and cylinders, whose physics can be edited."""
