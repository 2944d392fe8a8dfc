"""One file a provider: all that differs between sources, and nothing else."""
