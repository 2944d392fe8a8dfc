"""Downloads: the plan, the page ledger, the run loop, sealing, audit and repair.

It never imports a file of another program, and no step depends on a clean stop of the one before.
"""
