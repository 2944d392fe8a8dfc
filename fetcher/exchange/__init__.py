"""Loopback exchange: a simulator of the providers' candle APIs for tests and demos, with configurable faults."""
