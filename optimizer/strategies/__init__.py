"""The strategy protocol, parameter ranges, trade management and the built-in strategies.

A strategy decides on entries and exits and never computes a fill or a cost.
"""
