"""The editor's schemas of workflow and training files, and the shipped files that name them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from geoseg.config.training.training_file import training_schema
from geoseg.config.workflow import workflow_schema
from geoseg.io.yaml.files import load_training, load_workflow

Schema = Callable[[], dict[str, Any]]
SCHEMAS = pytest.mark.parametrize(
    ("kind", "schema"),
    [("workflow", workflow_schema), ("training", training_schema)],
    ids=["workflow", "training"],
)


@SCHEMAS
def test_the_committed_schema_is_current(root: Path, kind: str, schema: Schema) -> None:
    name = f"workflows/{kind}.schema.json"
    assert json.loads((root / name).read_text()) == schema(), f"run `geoseg schema {kind} > {name}`"


@SCHEMAS
def test_the_schema_describes_every_key(kind: str, schema: Schema) -> None:
    content = schema()
    Draft202012Validator.check_schema(content)
    for name, section in {kind: content, **content["$defs"]}.items():
        if name == "JsonValue":  # any value: it has no keys
            continue
        assert section["additionalProperties"] is False
        for key, field in section["properties"].items():
            assert field["description"].endswith("."), key


@SCHEMAS
def test_shipped_files_load_and_name_the_schema(root: Path, kind: str, schema: Schema) -> None:
    training = kind == "training"
    everything = sorted((root / "workflows").glob("*.yaml"))
    files = [file for file in everything if file.name.startswith("train_") == training]
    assert len(files) >= 2
    for file in files:
        text = file.read_text()
        assert text.startswith(f"# yaml-language-server: $schema={kind}.schema.json\n")
        Draft202012Validator(schema()).validate(yaml.safe_load(text))
        if training:
            assert load_training(file).training.model.architecture
        else:
            assert load_workflow(file).catalog.is_file(), file
