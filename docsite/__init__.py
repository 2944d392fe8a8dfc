"""Builds the documentation: generates the reference from the code and takes the pictures.

It is no part of the installed program and never changes a page that a person writes.
"""
