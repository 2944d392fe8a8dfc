"""Checks of an installation for `tradeschool doctor`: packages, machine, folders, services, providers and clocks.

They change nothing and start no service; each finding says what to do.
"""
