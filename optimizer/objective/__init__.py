"""The objective function: a trial's parameters to its result, with portfolio and metrics.

It reads the train part in a search and never writes anything.
"""
