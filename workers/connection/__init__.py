"""Safe access to Redis: bounded reads, signatures, server time, damaged keys and outages.

It never knows a job or a study.
"""
