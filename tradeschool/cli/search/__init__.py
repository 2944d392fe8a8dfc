"""`tradeschool optimize` and its subcommands: run parameter searches and show, verify and export their results.

They never evaluate a trial; workers do.
"""
