"""Built-in levels, one file each, in order of file name."""
