"""Store of sealed datasets on disk. Files are written atomically and verified by their digests before they are read."""

from tradeschool.store.seal import Gap, GapReason, PartFile, Seal
from tradeschool.store.store import Store, sealed_store

__all__ = ["Gap", "GapReason", "PartFile", "Seal", "Store", "sealed_store"]
