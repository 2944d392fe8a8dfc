"""Backtest engine: turns candles and entry signals into trades and daily equity.

It never samples parameters and never decides whether a result is good enough.
"""
