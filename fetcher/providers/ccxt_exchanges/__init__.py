"""The exchanges of the optional package ccxt, which makes requests and reads responses but sends nothing."""
