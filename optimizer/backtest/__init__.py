"""Candles and entry signals to trades and daily equity."""
