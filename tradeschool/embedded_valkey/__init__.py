"""A private Valkey server for one machine: started, shared by processes, stopped and recovered.

It never holds data that a study lacks, so it may start without its files.
"""
