"""Base model of stored run records."""

from pydantic import BaseModel, ConfigDict


class StoredModel(BaseModel):
    """Frozen model; unknown keys are errors, and non-finite numbers survive a round trip."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")
