"""Checks behind a recommendation: the mandate, the evidence of skill, blocking checks and diagnostics."""
