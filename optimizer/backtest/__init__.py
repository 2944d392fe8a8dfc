"""The backtest engines: entries, costs, fills, trades and daily equity, and the look-ahead check.

It never computes a metric and never chooses a parameter.
"""
