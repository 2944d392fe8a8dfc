"""The commands: one module per command group, named like the command.

It reads options and calls `app`; it never contains the work itself.
"""
