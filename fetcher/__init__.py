"""Downloads candles from providers, validates them and seals datasets.

It never knows a strategy, a study or a queue.
"""
