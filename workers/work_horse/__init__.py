"""The work horse: the forked process of a worker that evaluates trials, and what both share.

It never holds a connection to Redis or a secret.
"""
