"""What the commands do: downloads, searches, and the processes and threads that run beside a command.

It connects the packages with each other and never parses a command line.
"""
