"""The candle contract: frames and arrays of candles, their validation and the findings of it.

It works in memory and never reads or writes a file.
"""
