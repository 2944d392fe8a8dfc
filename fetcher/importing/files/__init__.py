"""Finds candle files in folders, globs and archives, and reads them as batches of raw rows.

It never interprets a column.
"""
