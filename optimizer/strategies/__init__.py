"""The built-in strategies, one a file, each with a `STRATEGY`."""
