"""The levels of the project: one module each, in the order of their names.

A level only describes and never runs anything.
"""
