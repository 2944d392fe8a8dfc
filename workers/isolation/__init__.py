"""Isolation of users' strategies: the allowlist, and separate processes that import and run them.

The calling process never imports a user's module itself.
"""
