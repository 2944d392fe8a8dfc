"""Imports candles from files of other programs.

It never asks a provider and never seals a range that the validation refuses.
"""
