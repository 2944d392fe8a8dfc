"""Application layer of the commands: downloads, searches, and the processes and threads that run beside a command.

It connects the packages and never parses a command line.
"""
