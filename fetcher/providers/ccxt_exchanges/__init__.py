"""Exchanges by the optional package ccxt: it builds requests and reads responses, and never sends anything."""
