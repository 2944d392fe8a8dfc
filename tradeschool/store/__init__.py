"""Sealed datasets on disk: written so that a reader sees a whole file or none, and trusts nothing unproven."""

from tradeschool.store.seal import Gap, GapReason, PartFile, Seal
from tradeschool.store.store import Store, sealed_store

__all__ = ["Gap", "GapReason", "PartFile", "Seal", "Store", "sealed_store"]
