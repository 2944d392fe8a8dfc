"""Prepared candles as arrays: indicators, hourly bars, slices and random walks.

It never knows a strategy or a position.
"""
