"""Imported by a fork server once, so that none of its forks compiles anything."""

from optimizer.warm import warm

warm()
