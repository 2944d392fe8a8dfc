"""The commands: a folder for what the user does, a module per command or large subcommand, named like it.

A command reads options and calls `app`; it never contains the work itself.
"""
