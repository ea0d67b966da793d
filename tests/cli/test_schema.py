"""``zoo schema``: one JSON schema on stdout, which check-jsonschema takes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from zoo.cli import app
from zoo.recipe.find import package_recipes


@pytest.fixture(scope="module")
def schema() -> dict:
    result = CliRunner().invoke(app, ["schema"])
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_is_a_schema_of_its_draft(schema):
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


def test_check_jsonschema_takes_it(schema, tmp_path):
    tool = shutil.which("check-jsonschema", path=str(Path(sys.executable).parent)) or shutil.which("check-jsonschema")
    if tool is None:
        pytest.skip("check-jsonschema is not installed")
    (tmp_path / "zoo.schema.json").write_text(json.dumps(schema))
    bad = tmp_path / "bad.yaml"
    bad.write_text("extends: dit_b.yaml\nbackbone: {dimm: 3}\n")

    def check(*files: Path) -> subprocess.CompletedProcess:
        command = [tool, "--schemafile", str(tmp_path / "zoo.schema.json"), *map(str, files)]
        return subprocess.run(command, capture_output=True, text=True)

    good = check(*package_recipes().rglob("*.yaml"))
    assert good.returncode == 0, good.stdout
    assert check(bad).returncode == 1
