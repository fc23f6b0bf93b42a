"""A controlled experiment in a small world: what the labels of each arm make of one and the same start."""
