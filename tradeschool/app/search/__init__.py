"""Searches of the commands: the search that the options request, its worker pool, its isolated strategies.

It never downloads candles.
"""
