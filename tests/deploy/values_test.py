"""The chart's values, their schema, the presets, the page and what is rendered of them say the same."""
import hashlib
import importlib.machinery
import importlib.util
import json

import jsonschema
import pytest
import yaml

from manifests import CHART, KUBERNETES, OVERLAYS, ROOT

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


def render_kubernetes():
    loader = importlib.machinery.SourceFileLoader("render_kubernetes", str(ROOT / "scripts/render-kubernetes"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def merged(over, under):
    if not isinstance(over, dict) or not isinstance(under, dict):
        return over
    return {**under, **{name: merged(value, under.get(name)) for name, value in over.items()}}


def test_manifests_are_made_of_what_is_there_now():
    rendered = render_kubernetes()
    lines = dict(reversed(line.split("  ")) for line in (KUBERNETES / "rendered-from.sha256").read_text().splitlines())
    assert sorted(lines) == rendered.sources(), "run scripts/render-kubernetes"
    stale = [path for path, digest in lines.items() if hashlib.sha256((ROOT / path).read_bytes()).hexdigest() != digest]
    assert not stale, f"{stale} changed since deploy/kubernetes was rendered: run scripts/render-kubernetes"


def test_the_page_has_the_table_of_values():
    page = (ROOT / "docs/kubernetes.md").read_text()
    assert page == render_kubernetes().with_table(page), "run scripts/render-kubernetes"


def test_defaults_and_presets_are_what_the_schema_accepts():
    jsonschema.validate(VALUES, SCHEMA)
    for overlay in OVERLAYS:
        preset = yaml.safe_load((CHART / f"presets/{overlay}.yaml").read_text())
        jsonschema.validate(merged(preset, VALUES), SCHEMA)


def test_every_value_has_a_default_and_every_default_is_known_and_told():
    def check(schema, values, path):
        if "$ref" in schema:
            schema = SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[1]]
        assert schema.get("description") or not path, path
        if isinstance(values, dict) and "properties" in schema:
            known = set(schema["properties"]) - {"global"}
            assert set(values) == known or path.endswith("resources"), f"{path}: {set(values) ^ known}"
            for name in known & set(values):
                check(schema["properties"][name], values[name], f"{path}.{name}")
    check(SCHEMA, VALUES, "")


NONSENSE = [  # values that no cluster could do anything with
    ("learner", {"ranks": 0}), ("learner", {"sharedMemory": "much"}), ("learner", {"workload": "StatefulSet"}),
    ("learner", {"replicas": 1}), ("learner", {"logLevel": "loud"}),
    ("actors", {"replicas": -1}), ("actors", {"threads": 0}), ("actors", {"threads": "4"}),
    ("actors", {"maxUnavailable": "0%"}),
    ("rewardServers", {"Capital": {}}), ("rewardServers", {"much-too-long-name": {}}),
    ("rewardServers", {"ocr": {"scorers": ["a b"]}}),
    ("rewardServers", {"ocr": {"autoscaling": {"enabled": "yes"}}}), ("image", {"digest": "sha256:123"}),
    ("image", {"repository": ""}),
    ("image", {"tag": "a b"}), ("run", {"name": "../up"}), ("runs", {"size": "much"}), ("tls", {"mode": "on"}),
    ("monitoring", {"labels": {"a": "b c"}}), ("pod", {"userId": 0}), ("nonsense", {}),
]


@pytest.mark.parametrize("section, change", NONSENSE)
def test_values_that_make_no_sense_are_refused(section, change):
    values = merged({section: change}, VALUES)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, SCHEMA)
