"""Downloads of the commands: select the ranges, run the download, run it in a thread beside a search.

It never searches.
"""
