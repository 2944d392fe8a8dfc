"""The trial queue: messages, job names, allowlist, leases, results, failed jobs and dispatch.

It never evaluates a trial and never writes to a study.
"""
