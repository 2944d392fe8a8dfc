"""Instruments, timeframes, time windows, trading calendars and the catalogue of datasets.

It computes with names and times only and never reads a candle.
"""
