"""The curriculum in one process: every decision of a run without queue, database and files.

It searches, judges and recommends as a run with workers does; it writes nothing.
"""
