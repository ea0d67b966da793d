"""``zoo schema``: a JSON schema of recipes."""

from __future__ import annotations

import json

from zoo.cli.common import Debug, PartsFiles, installed_registry


def schema(parts: PartsFiles = None, debug: Debug = False) -> None:
    """Print a JSON schema of recipes for the installed parts, for editors and check-jsonschema.

    With the schema saved as zoo.schema.json, the line `# yaml-language-server: $schema=zoo.schema.json` at the top of a
    recipe gives completion and checks in editors that run yaml-language-server.
    """
    from zoo.recipe.json_schema import recipe_schema

    print(json.dumps(recipe_schema(installed_registry(parts)), indent=2))
