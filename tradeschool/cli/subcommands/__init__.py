"""Subcommands that are too large for the module of their command group.

A subcommand never imports a command group.
"""
