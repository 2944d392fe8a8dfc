"""Backtests, parameter searches, the curriculum of levels and the validation of its winners.

It reads sealed candles and never knows a provider or a queue.
"""
