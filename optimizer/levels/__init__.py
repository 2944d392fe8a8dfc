"""One file a level, in the order of their names; a level exists because its file is there."""
