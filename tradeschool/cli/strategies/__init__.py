"""Commands about one strategy: list, create and check strategies, backtest one with fixed parameters.

They never choose parameters; a search does.
"""
