"""Compilation to machine code with numba and the cache of compiled functions on disk.

It never changes what a function computes.
"""
