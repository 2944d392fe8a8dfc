"""Candle fetcher: downloads provider pages within rate limits, and imports files, into sealed datasets.

Every expected candle is accounted for, and a killed download continues where it stopped.
"""
