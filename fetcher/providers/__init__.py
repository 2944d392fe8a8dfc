"""One module per provider: its requests, its answers and its errors.

A provider never opens a connection and never writes a file.
"""
