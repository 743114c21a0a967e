"""What helm, kubectl and the published definitions say of the chart and of what is rendered of it. By
scripts/test-deploy."""
import copy
import inspect
import json
import os
import pathlib
import subprocess

import kubernetes_validate
import pytest
import yaml

import objects_test
from manifests import CHART, KUBERNETES, OVERLAYS, ROOT, jobs, key_of, main_container, of_kind, pod_templates, read
from pod_security_rules import broken

TOOLS = pathlib.Path(os.environ.get("FLOWAWR_DEPLOY_TOOLS", ROOT / "build/deploy-tools"))
LONGEST = "a" * 35 + "z"

VALUES = {
    "defaults": {},
    "all on": {
        "fullnameOverride": LONGEST, "image": {"digest": "sha256:" + "0" * 64, "pullSecrets": ["registry"]},
        "run": {"config": {"rewards": {"terms": [{"scorer": "ocr", "options": {"layout": "sparse"}},
                                                 {"scorer": "taste", "weight": 0.5},
                                                 {"scorer": "far", "endpoint": "rewards.example:443"}]}}},
        "model": {"claim": "models"}, "prompts": {"files": {"train.txt": 'a sign that says "CAT"\n'}},
        "copy": {"enabled": True, "remote": "store:bucket/runs", "configSecret": "rclone"},
        "tls": {"mode": "certManager", "issuer": {"name": "ca", "kind": "ClusterIssuer"}, "mutual": True},
        "learner": {"ranks": 1024, "sharedMemory": "8Gi", "disruptionBudget": True, "ttlSecondsAfterFinished": 600,
                    "env": {"FLOWAWR_CPU": "avx2"}, "priorityClassName": "high",
                    "runtimeClassName": "nvidia", "nodeSelector": {"kind": "big"},
                    "tolerations": [{"operator": "Exists"}],
                    "affinity": {"nodeAffinity": {}},
                    "extraVolumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}}],
                    "extraVolumeMounts": [{"name": "cache", "mountPath": "/cache"}]},
        "actors": {"workload": "Job", "replicas": 100, "peers": True, "giveUpAfterSeconds": 5000000},
        "rewardServers": {"a-name-of-15-ab": {"scorers": ["taste=jpeg_compressibility,scale=5"],
                                              "egress": [{"ports": [{"port": 443}]}],
                                              "autoscaling": {"enabled": True, "maxReplicas": 9}}},
        "networkPolicy": {"operators": [{"podSelector": {"matchLabels": {"app": "console"}}}],
                          "rewardsElsewhere": [{"ports": [{"port": 443, "protocol": "TCP"}]}]},
        "monitoring": {"podMonitor": True, "rules": True, "dashboards": True, "labels": {"release": "prometheus"}},
        "pod": {"listen": "::", "userId": 1000670000, "groupId": 1000670000, "annotations": {"note": "x"},
                "labels": {"team": "art"}},
    },
    "no job sets": {"learner": {"workload": "Job"}, "monitoring": {"podMonitor": True}},
    "scaled by others": {"actors": {"replicas": None}},
    "nothing secret": {"tls": {"mode": "off"}, "tokens": {"secret": ""}, "runs": {"claim": "mine"},
                       "networkPolicy": {"enabled": False}},
    "tokens without tls": {"tls": {"mode": "off"}},
    "peers with a certificate of all": {"actors": {"peers": True}},
    "two ranks": {"learner": {"ranks": 2}, "monitoring": {"podMonitor": True}},
    "ranks and peers in clear": {"tls": {"mode": "off"}, "tokens": {"secret": ""}, "learner": {"ranks": 3},
                                 "actors": {"peers": True}, "pod": {"listen": "::"}},
    **{name: yaml.safe_load((CHART / f"presets/{name}.yaml").read_text()) for name in OVERLAYS},
}


def helm(*arguments, values=None, ok=True, chart=CHART):
    command = [str(TOOLS / "bin/helm"), *arguments]
    done = subprocess.run([*command, *(["--values", "-"] if values is not None else [])],
                          input=json.dumps(values) if values is not None else None, capture_output=True, text=True,
                          cwd=ROOT, timeout=120)
    assert (done.returncode == 0) == ok, f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr}"
    return done.stdout if ok else done.stderr


def template(values=None, release="flowawr", hooks=True, chart=CHART):
    text = helm("template", release, str(chart), "--namespace", "flowawr", "--api-versions", "jobset.x-k8s.io/v1alpha2",
                *([] if hooks else ["--no-hooks"]), values=values or {})
    return [one for one in yaml.safe_load_all(text) if one]


every = pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)


@every
def test_lints(values):
    helm("lint", "--strict", str(CHART), values=values)


def check_natives(objects):
    for one in objects:
        if one["apiVersion"].split("/")[0] not in ("jobset.x-k8s.io", "cert-manager.io", "monitoring.coreos.com"):
            kubernetes_validate.validate(one, "1.35", strict=True)
    for name, spec in jobs(objects):  # those in JobSets, too
        kubernetes_validate.validate({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
                                      "spec": spec}, "1.35", strict=True)


TYPES = {"PodMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor",
         "PrometheusRule": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule",
         "Certificate": "@kubernetes-models/cert-manager/cert-manager.io/v1/Certificate"}


def check_types(objects, folder):
    """By the compiler: a literal may have no field that its type does not have."""
    found = [one for one in objects if one["kind"] in TYPES]
    lines = [f'import type {{I{kind}}} from "{module}";' for kind, module in TYPES.items()]
    lines += [f"export const o{i}: I{one['kind']} = {json.dumps(one)};" for i, one in enumerate(found)]
    (folder / "objects.ts").write_text("\n".join(lines))
    link = folder / "node_modules"
    if not link.exists():
        link.symlink_to(TOOLS / "npm/node_modules")
    done = subprocess.run([str(TOOLS / "npm/node_modules/.bin/tsc"), "--noEmit", "--strict", "--skipLibCheck",
                           "--module", "nodenext", "--moduleResolution", "nodenext", "objects.ts"],
                          cwd=folder, capture_output=True, text=True, timeout=120)
    return len(found), done.stdout


@every
def test_is_what_the_published_definitions_allow(values, tmp_path):
    objects = template(values)
    check_natives(objects)
    count, complaints = check_types(objects, tmp_path)
    assert complaints == ""
    assert count > 0 or not values.get("monitoring")


def test_fields_that_nobody_knows_are_found(tmp_path):
    objects = template(VALUES["all on"])
    for kind in ("Deployment", "PodMonitor", "Certificate", "PrometheusRule", "NetworkPolicy"):
        wrong = copy.deepcopy(of_kind(objects, kind)[0])
        wrong["spec"]["nonsense"] = 1
        if kind in TYPES:
            assert "nonsense" in check_types([wrong], tmp_path)[1], kind
        else:
            with pytest.raises(kubernetes_validate.ValidationError):
                check_natives([wrong])


# What is asked of the committed manifests holds for any values.
RULES = [check for name, check in inspect.getmembers(objects_test, inspect.isfunction)
         if name.startswith("test_") and list(inspect.signature(check).parameters) == ["objects"]]


@every
def test_holds_what_the_kustomizations_hold(values):
    objects = template(values, hooks=False)
    for name, pods in pod_templates(template(values)):
        assert broken(pods["spec"]) == [], name
    skipped = set() if "fullnameOverride" not in values else {
        "test_addresses_are_those_of_services", "test_services_lead_to_ports_of_pods"}
    if "claim" in values.get("runs", {}):
        skipped.add("test_what_is_mounted_is_there")
    is_open = "rewardsElsewhere" in values.get("networkPolicy", {})  # wherever somebody else's reward server is
    if is_open or not values.get("networkPolicy", {}).get("enabled", True):
        skipped.add("test_monitoring_reads_metrics_and_nothing_else_and_names_are_found")
    if not values.get("networkPolicy", {}).get("enabled", True):
        skipped.add("test_actors_reach_each_other_where_they_serve_adapters_and_only_there")
    for check in RULES:
        if check.__name__ not in skipped:
            check(objects)


@pytest.mark.parametrize("kustomization", ["base", *(f"overlays/{name}" for name in OVERLAYS)])
def test_kubectl_makes_of_a_kustomization_what_the_tests_read_and_helm_makes_of_the_values(kustomization):
    done = subprocess.run([str(TOOLS / "bin/kubectl"), "kustomize", str(KUBERNETES / kustomization)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    everything = list(yaml.safe_load_all(done.stdout))
    astray = [key_of(one) for one in everything
              if one["kind"] != "Namespace" and one["metadata"].get("namespace") != "flowawr"]
    assert not astray, "outside the namespace, where their accounts, secrets and volumes are not"

    def comparable(objects):
        found = {}
        for one in copy.deepcopy(objects):
            if one["kind"] != "Namespace":
                one["metadata"].pop("namespace", None)
            for place in (one["metadata"], *(pods["metadata"] for _, pods in pod_templates([one]))):
                for label in ("app.kubernetes.io/managed-by", "helm.sh/chart"):
                    place.get("labels", {}).pop(label, None)
            found[key_of(one)] = one
        return found
    built = comparable(everything)
    assert built == comparable(read(kustomization))
    name = kustomization.partition("/")[2]
    values = copy.deepcopy(VALUES[name or "defaults"])
    for section, field in (("learner", "nameByContent"), ("runs", "keep"), ("monitoring", "dashboards")):
        values.setdefault(section, {})[field] = False
    made = comparable(template(values, hooks=False))
    assert {key: one for key, one in built.items() if key[0] != "Namespace"} == made
    check_natives(list(built.values()))


def test_kustomizations_are_not_stale():
    done = subprocess.run([str(ROOT / "scripts/render-kubernetes"), "--check"], capture_output=True, text=True,
                          env={**os.environ, "HELM": str(TOOLS / "bin/helm"),
                               "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"})
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_overlay_of_ones_own_changes_image_and_namespace_everywhere(tmp_path):
    overlay = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": "art",
               "resources": [os.path.relpath(KUBERNETES / "overlays/sd35-8gpu", tmp_path)],
               "images": [{"name": "flowawr", "newName": "registry.example/flowawr", "newTag": "1.2"}]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    done = subprocess.run([str(TOOLS / "bin/kubectl"), "kustomize", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    objects = list(yaml.safe_load_all(done.stdout))
    assert {main_container(pods)["image"] for _, pods in pod_templates(objects)} == {"registry.example/flowawr:1.2"}
    assert {one["metadata"].get("namespace") for one in objects if one["kind"] != "Namespace"} == {"art"}


REFUSED = [  # values, what is said
    ({"learner": {"ranks": 2, "workload": "Job"}}, "learner.ranks above 1 needs learner.workload: JobSet"),
    ({"run": {"config": {"train": {"ranks": 2}}}}, "say it in learner.ranks"),
    ({"nonsense": 1}, "nonsense"),
    ({"tls": {"mode": "certManager"}}, "tls.issuer.name"),
    ({"tls": {"mode": "secret", "secret": ""}}, "tls.secret"),
    ({"tls": {"mode": "off", "mutual": True}}, "tls.mutual needs certificates"),
    ({"copy": {"enabled": True}}, "copy.remote"),
    ({"run": {"base": "tiny-ocrr"}}, 'no configuration "tiny-ocrr"; there are: '),
    ({"run": {"config": {"network": {"insecure": True}}}}, "run.config.network is set by the chart"),
    ({"run": {"config": {"run_dir": "x"}}}, "run.config.run_dir is set by the chart"),
    ({"run": {"base": ""}}, "run.config.rewards.terms is empty"),
    ({"run": {"config": {"rewards": {"terms": [{"scorer": "pickscore"}]}}}}, 'the reward "pickscore" has no server'),
    ({"rewardServers": {"ocr": {"scorers": []}}}, "rewardServers.ocr.scorers is empty"),
    ({"rewardServers": {"ocr": {"autoscaling": {"enabled": True, "minReplicas": 5}}}},
     "minReplicas 5 is above maxReplicas 4"),
    ({"rewardServers": {"ocr": {"maxQueued": 10}}}, "queueImages 64 is never reached"),
    ({"prompts": {"files": {"a": "b"}, "configMap": "c"}}, "set one of them"),
    ({"actors": {"giveUpAfterSeconds": 0}}, "giveUpAfterSeconds"),
    ({"actors": {"workload": "Job", "replicas": None}}, "say how many in actors.replicas"),
    ({"fullnameOverride": "a" * 37}, "fullnameOverride"),
]


@pytest.mark.parametrize("values, said", REFUSED, ids=[said for _, said in REFUSED])
def test_values_that_make_no_sense_are_refused_and_say_why(values, said):
    assert said in helm("template", "flowawr", str(CHART), values=values, ok=False)


def test_a_release_with_too_long_a_name_is_refused():
    assert "at most 36" in helm("template", "r" * 50, str(CHART), values={}, ok=False)


def workload(values):
    return of_kind(template(values), "JobSet")[0]


def test_an_upgrade_changes_nothing_that_cannot_be_changed():
    """Kubernetes refuses other selectors, and any other pod in a Job: that is another Job, under another name."""
    before, after = template({}), template({
        "image": {"tag": "2"}, "run": {"config": {"train": {"updates": 99}}},
        "learner": {"resources": {"limits": {"memory": "9Gi"}}},
        "actors": {"replicas": 9, "threads": 2}, "rewardServers": {"ocr": {"replicas": 3}},
        "pod": {"labels": {"team": "art"}}, "runs": {"size": "20Gi"}})
    old, new = {key_of(one): one for one in before}, {key_of(one): one for one in after}
    for key in old.keys() & new.keys():
        kind, one, other = key[0], old[key]["spec"] if "spec" in old[key] else None, new[key].get("spec")
        if kind == "Deployment":
            assert one["selector"] == other["selector"]
        if kind in ("Job", "JobSet"):
            assert one == other
        if kind == "PersistentVolumeClaim":
            assert {**one, "resources": {}} == {**other, "resources": {}}
        if kind == "Service":
            assert one.get("clusterIP") == other.get("clusterIP")
    assert workload({})["metadata"]["name"] != of_kind(after, "JobSet")[0]["metadata"]["name"]
    with_more_actors = workload({"actors": {"replicas": 9}})
    assert workload({})["metadata"]["name"] == with_more_actors["metadata"]["name"], "the same learner"


def test_more_ranks_are_another_workload_and_find_their_own_rank_0():
    names = {}
    for ranks in (1, 2, 3):
        one = workload({"learner": {"ranks": ranks}})
        names[ranks] = one["metadata"]["name"]
        for job in one["spec"]["replicatedJobs"][1:]:
            args = main_container(job["template"]["spec"]["template"])["args"]
            assert f"{names[ranks]}-learner-0-0.{names[ranks]}:29400" in args
    assert len(set(names.values())) == 3


def test_the_package_holds_all_that_it_is_rendered_from(tmp_path):
    helm("package", str(CHART), "--destination", str(tmp_path))
    (package,) = tmp_path.glob("*.tgz")
    assert template(VALUES["sd35-multi-node"], chart=package) == template(VALUES["sd35-multi-node"])


def test_every_certificate_that_is_mounted_is_asked_for():
    objects = template(VALUES["all on"])
    made = {one["spec"]["secretName"] for one in of_kind(objects, "Certificate")}
    mounted = {volume["secret"]["secretName"] for _, pods in pod_templates(objects)
               for volume in pods["spec"]["volumes"] if volume["name"] == "tls"}
    assert mounted == made


def test_actors_ask_each_other_for_a_name_of_the_certificate_that_they_get():
    for name in ("all on", "peers with a certificate of all"):
        objects = template(VALUES[name])
        asked = yaml.safe_load(next(one["data"]["actor.yaml"]
                                    for one in of_kind(objects, "ConfigMap") if "actor.yaml" in one["data"]))
        named = [one["spec"]["dnsNames"] for one in of_kind(objects, "Certificate")
                 if asked["network"]["peer_tls_name"] in one["spec"]["dnsNames"]]
        if VALUES[name].get("tls", {}).get("mode") == "certManager":
            assert len(named) == 1
            continue
        notes = helm("install", "flowawr", str(CHART), "--dry-run=client", values=VALUES[name]).partition("NOTES:")[2]
        assert f"\n{asked['network']['peer_tls_name']}, " in notes, "what the certificate of all must name"


def test_numbers_of_a_configuration_stay_what_they_are():
    values = {"run": {"config": {"train": {"updates": 2000000}, "optimizer": {"learning_rate": 0.00001},
                                 "seed": 12345678901}}}
    (config,) = [one for one in of_kind(template(values), "ConfigMap") if "run.yaml" in one["data"]]
    run = yaml.safe_load(config["data"]["run.yaml"])
    assert run["train"]["updates"] == 2000000 and run["seed"] == 12345678901
    text = json.dumps(template({**VALUES["all on"], **values}))
    assert "e+0" not in text and '"5000000"' in text and "1000670000" in text
    assert "updates: 2000000\n" in config["data"]["run.yaml"] and float(run["optimizer"]["learning_rate"]) == 0.00001


def test_scorers_take_their_options_from_the_run():
    (server,) = [one for one in of_kind(template(VALUES["sd35-8gpu"]), "Deployment")
                 if one["metadata"]["name"] == "flowawr-reward-ocr"]
    arguments = main_container(server["spec"]["template"])["args"]
    assert arguments[arguments.index("--scorer") + 1] == "ocr,layout=sparse"


def test_notes_say_what_is_to_be_done():
    notes = helm("install", "flowawr", str(CHART), "--dry-run=client", values={}).partition("NOTES:")[2]
    for said in ("create secret generic flowawr-tls", "--from-literal=read-only=", "flowawr-reward-ocr",
                 "kubectl -n default scale"):
        assert said in notes
    assert "NOTHING IS ENCRYPTED" in helm("install", "flowawr", str(CHART), "--dry-run=client",
                                          values=VALUES["cpu-demo"])
    assert "rank" not in notes
    notes = helm("install", "flowawr", str(CHART), "--dry-run=client",
                 values=VALUES["sd35-ranks"]).partition("NOTES:")[2]
    for said in ("The learner is 4 ranks. What they say to each other is NOT ENCRYPTED",
                 "app.kubernetes.io/component=rank"):
        assert said in notes
