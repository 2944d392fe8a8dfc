"""Recognises the form of a candle file: which column means what, in which time zone and on which side of the spread.

It looks at names and the first rows only and never converts a value.
"""
