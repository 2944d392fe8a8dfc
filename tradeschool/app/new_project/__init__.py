"""The files of a new project: drafts a curriculum for a user's pairs and writes it and the settings as commented TOML.

It reads stored candles and never downloads or searches anything.
"""
