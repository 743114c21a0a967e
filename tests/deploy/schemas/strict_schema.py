"""Makes schemas/jobset.json from JobSet's published CustomResourceDefinition (kubernetes-sigs/jobset, Apache-2.0):

    python3 strict_schema.py jobset-crd.yaml > jobset.json

Strict: a field that the definition does not know is an error, as it is for `kubectl apply` with strict validation. Pod
templates and claims in it are left open; they are checked as what they are, by Kubernetes' own schemas.
"""
import json
import sys

import yaml

OPEN = {"metadata", "status", "volumeClaimPolicies"}


def strict(schema, name=""):
    if name in OPEN:
        return {"type": "object" if schema.get("type") == "object" else schema.get("type", "object")}
    kept = {key: value for key, value in schema.items()
            if key in ("type", "enum", "required", "minimum", "maximum", "minItems", "maxItems", "minLength",
                       "maxLength", "pattern")}
    if "properties" in schema:
        if "containers" in schema["properties"]:  # a pod's spec
            return {"type": "object"}
        kept["properties"] = {key: strict(value, key) for key, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            kept["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        kept["additionalProperties"] = strict(schema["additionalProperties"])
    if "items" in schema:
        kept["items"] = strict(schema["items"])
    return kept


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        version = yaml.safe_load(file)["spec"]["versions"][0]
    json.dump(strict(version["schema"]["openAPIV3Schema"]), sys.stdout, indent=1)
    print()
