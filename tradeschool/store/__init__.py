"""Sealed datasets in a folder or a bucket: year files, seals, and what the store holds of each dataset.

A reader sees a whole file or none; the store never downloads a candle and never trusts a file without its seal.
"""

from tradeschool.store.seal import Gap, GapReason, PartFile, Seal
from tradeschool.store.store import Store, holdout_store

__all__ = ["Gap", "GapReason", "PartFile", "Seal", "Store", "holdout_store"]
