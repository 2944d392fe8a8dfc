"""Built-in strategies, one file each with a `STRATEGY` object."""
