"""The files of a run: tables, JSON, plots and the HTML report.

It only writes what it is given and never computes a figure anew.
"""
