"""The form of what is kept of a run in the study's database."""

from pydantic import BaseModel, ConfigDict


class Kept(BaseModel):
    """A frozen value; unknown keys are errors, and a figure that is no finite number comes back as it was."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="constants")
