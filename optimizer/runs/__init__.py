"""Run records in the study's database: stored runs, active runs, fingerprints and a read-only live reader.

It never runs a trial and never judges one.
"""
