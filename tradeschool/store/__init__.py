"""Sealed datasets on disk: written so that a reader sees a whole file or none, and trusts nothing unproven."""

from tradeschool.store.seal import Gap, GapReason, PartFile, Seal
from tradeschool.store.store import SEALED_FOLDER, Store

__all__ = ["SEALED_FOLDER", "Gap", "GapReason", "PartFile", "Seal", "Store"]
