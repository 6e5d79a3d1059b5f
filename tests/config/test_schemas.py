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
from geoseg.errors import ConfigError
from geoseg.io.yaml.files import load_card, load_training, load_workflow
from geoseg.io.yaml.strict_yaml import dump_yaml

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


LOADERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "workflow": (load_workflow, "geoseg run FILE"),
    "training": (load_training, "geoseg train FILE"),
    "model card": (load_card, "geoseg models import STATE_DICT --card FILE -o BUNDLE"),
}


@pytest.mark.parametrize("given", LOADERS)
def test_a_file_of_another_kind_answers_with_the_command_that_takes_it(
    root: Path, tmp_path: Path, given: str
) -> None:
    card = {
        "architecture": "micronet",
        "bands": ["red"],
        "scaling": {},
        "resolution": "0.3 m",
        "license": "x",
    }
    (tmp_path / "card.yaml").write_text(dump_yaml(card), encoding="utf-8")
    everything = sorted((root / "workflows").glob("*.yaml"))
    files = {
        "workflow": [file for file in everything if not file.name.startswith("train_")],
        "training": [file for file in everything if file.name.startswith("train_")],
        "model card": [tmp_path / "card.yaml"],
    }[given]
    command = LOADERS[given][1]
    for kind, (load, _) in LOADERS.items():
        for file in files if kind != given else ():
            with pytest.raises(ConfigError) as caught:
                load(file)
            assert str(caught.value) == (
                f"{file}: is a {given} file, not a {kind}: {command.replace('FILE', str(file))}"
            )


@pytest.mark.parametrize("kind", LOADERS)
def test_a_catalog_in_place_of_a_file_that_names_it_says_where_it_goes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "scenes.json"
    path.write_text('{"type": "FeatureCollection", "features": []}', encoding="utf-8")
    with pytest.raises(ConfigError, match=f"is a STAC catalog, not a {kind}") as caught:
        LOADERS[kind][0](path)
    assert len(str(caught.value).splitlines()) == 1
