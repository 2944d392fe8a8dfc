"""A module for fork servers: it loads compiled functions once for all forks."""

from optimizer.objective.warm_up import precompile

precompile()
