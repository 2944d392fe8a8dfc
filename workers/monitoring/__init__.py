"""Read-only status: queue snapshot, run status, history, stall detection, digest and notifications.

It never changes a job, a study or a run.
"""
