"""Sealed candles to parameters: backtests, studies, levels and their gates."""
