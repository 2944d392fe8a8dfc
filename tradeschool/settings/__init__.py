"""All settings: their model with units and defaults, the sources that they are read from, and the secrets.

No other code reads the environment, and a secret never appears in a message.
"""
