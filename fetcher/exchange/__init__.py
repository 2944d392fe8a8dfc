"""The loopback exchange: the other side of the two candle protocols, with faults where they are asked for."""
