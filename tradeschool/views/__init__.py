"""Tables, progress bars and live screens for the terminal.

A view shows what it is given and never changes anything.
"""
