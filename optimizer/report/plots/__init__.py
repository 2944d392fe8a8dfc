"""Plots of a run as SVG: equity, searches, trades, windows and the power of the evidence.

They draw what they are given; a page shows them in its own colours.
"""
