"""The loopback exchange: the other side of the candle protocols, with faults where they are asked for."""
