"""What the sections of every file that a person writes share, and the schema that editors check them with."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import GenerateJsonSchema

from geoseg.config.units import Quantity

__all__ = ["Section", "editor_schema"]


class Section(BaseModel):
    """A part of a file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, defer_build=True
    )


class _EditorSchema(GenerateJsonSchema):
    """Pydantic's schema, with quantities as the text that a file holds and no titles made of key names."""

    def encode_default(self, dft: object) -> object:
        return str(dft) if isinstance(dft, Quantity) else super().encode_default(dft)

    def field_title_should_be_set(self, schema: object) -> bool:
        del schema
        return False


def editor_schema(model: type[Section]) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a file, for editors: every key with its description."""
    schema = model.model_json_schema(schema_generator=_EditorSchema)
    for part in (schema, *schema["$defs"].values()):
        for field in part.get("properties", {}).values():
            field["description"] = " ".join(field["description"].split())
            if "const" in field:
                field.pop("enum", None)  # pydantic 2.9 writes both
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
