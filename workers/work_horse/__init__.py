"""The work horse: the forked process of a worker that evaluates trials, and the channel between both.

It never uses a connection to Redis.
"""
