"""Converts raw rows to candles in UTC and checks them; each error names the file and the line.

It never opens a file.
"""
