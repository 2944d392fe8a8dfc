"""Options that several commands share.

An option never starts any work.
"""
