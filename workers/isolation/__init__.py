"""Isolation of users' strategies: the allowlist, and a process of its own for their code.

The process that asks never imports a user's module itself.
"""
