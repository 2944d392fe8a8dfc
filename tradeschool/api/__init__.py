"""Python API: the functions that `import tradeschool` offers.

They call the same functions as the commands and keep no state.
"""
