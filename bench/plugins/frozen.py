"""The base of all models of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from invbench.util.names import unknown


class Frozen(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            keys = {field.alias or name for name, field in cls.model_fields.items()}
            accepted = keys | set(cls.model_fields)
            for key in data:
                if key not in accepted:
                    raise ValueError(unknown("key", key, keys))
        return data
