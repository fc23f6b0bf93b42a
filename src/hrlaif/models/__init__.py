"""Models: what serves them, how calls are made, limited and kept, and the one that comes with hrlaif."""
