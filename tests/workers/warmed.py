"""Imported by a fork server once, so that none of its forks compiles anything."""

from optimizer.objective.warm_up import precompile

precompile()
