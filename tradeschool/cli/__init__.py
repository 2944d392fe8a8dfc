"""Command line: one module per command group.

This package composes the other packages and is the only one that prints.
"""
