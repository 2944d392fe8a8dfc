"""The built-in strategies: one module each, with a `STRATEGY`.

A built-in strategy never imports another one.
"""
