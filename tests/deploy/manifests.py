"""The manifests of deploy/kubernetes as a cluster would get them, read without kubectl and helm.

scripts/test-deploy holds this reading against `kubectl kustomize`.
"""
import functools
import pathlib

import jsonpatch
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
CHART = ROOT / "deploy/helm/flowawr"
OVERLAYS = sorted(path.parent.name for path in KUBERNETES.glob("overlays/*/kustomization.yaml"))
KUSTOMIZATIONS = ["base", *(f"overlays/{name}" for name in OVERLAYS)]


def key_of(document):
    return document["kind"], document["metadata"]["name"]


def _apply(objects, patch):
    change = yaml.safe_load(patch["patch"])
    if isinstance(change, dict):
        assert change["$patch"] == "delete", change
        return [one for one in objects if key_of(one) != key_of(change)]
    target = patch["target"]["kind"], patch["target"]["name"]
    assert any(key_of(one) == target for one in objects), f"a patch for what is not there: {target}"
    return [jsonpatch.apply_patch(one, change) if key_of(one) == target else one for one in objects]


@functools.cache
def read(kustomization):
    """All objects of a kustomization, a path in deploy/kubernetes."""
    folder = KUBERNETES / kustomization
    settings = yaml.safe_load((folder / "kustomization.yaml").read_text())
    objects = []
    for resource in settings["resources"]:
        if (folder / resource).is_dir():
            objects += read(str((folder / resource).resolve().relative_to(KUBERNETES.resolve())))
        else:
            objects += [one for one in yaml.safe_load_all((folder / resource).read_text()) if one]
    for patch in settings.get("patches", []):
        objects = _apply(objects, patch)
    return objects


def pod_templates(objects):
    """[(name of what makes the pods, pod template)], JobSets' Jobs one by one."""
    found = []
    for one in objects:
        name = f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] in ("Deployment", "Job"):
            found.append((name, one["spec"]["template"]))
        elif one["kind"] == "JobSet":
            for job in one["spec"]["replicatedJobs"]:
                found.append((f"{name}, {job['name']}", job["template"]["spec"]["template"]))
        elif one["kind"] == "Pod":
            found.append((name, one))
    return found


def jobs(objects):
    """[(name, spec)] of Jobs, those of JobSets too."""
    found = [(one["metadata"]["name"], one["spec"]) for one in objects if one["kind"] == "Job"]
    for one in objects:
        if one["kind"] == "JobSet":
            found += [(f"{one['metadata']['name']}-{job['name']}", job["template"]["spec"])
                      for job in one["spec"]["replicatedJobs"]]
    return found


def selects(selector, labels):
    return all(labels.get(name) == value for name, value in selector.items())


def of_kind(objects, kind):
    return [one for one in objects if one["kind"] == kind]


def main_container(template):
    return template["spec"]["containers"][0]


def labels_of_pods(template):
    """Labels of the template, and those that controllers add."""
    labels = dict(template["metadata"].get("labels", {}))
    labels["batch.kubernetes.io/job-completion-index"] = "0"
    return labels
