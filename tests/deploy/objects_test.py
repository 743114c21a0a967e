"""What an API server or a kubelet would refuse, and what would not find each other."""
import json
import pathlib
import re

import jsonschema
import pytest
import yaml

from manifests import (KUSTOMIZATIONS, OVERLAYS, CHART, jobs, key_of, labels_of_pods, main_container, of_kind,
                       pod_templates, read, selects)
from network_rules import may_talk

DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
JOBSET = json.loads((pathlib.Path(__file__).parent / "schemas/jobset.json").read_text())

every = pytest.mark.parametrize("objects", [read(name) for name in KUSTOMIZATIONS], ids=KUSTOMIZATIONS)


@every
def test_no_object_is_there_twice(objects):
    keys = [key_of(one) for one in objects]
    assert len(keys) == len(set(keys))


@every
def test_names_and_labels_are_as_kubernetes_takes_them(objects):
    def check_labels(labels):
        for name, value in labels.items():
            assert len(value) <= 63 and LABEL_VALUE.fullmatch(value), (name, value)
    for one in objects:
        assert DNS_LABEL.fullmatch(one["metadata"]["name"]), one["metadata"]["name"]
        check_labels(one["metadata"].get("labels", {}))
    for _, template in pod_templates(objects):
        check_labels(template["metadata"]["labels"])
        assert all(isinstance(value, str) for value in template["metadata"].get("annotations", {}).values())


@every
def test_selectors_select_the_pods_that_they_are_for(objects):
    pods = [template["metadata"]["labels"] for _, template in pod_templates(objects)]
    for one in objects:
        if one["kind"] == "Deployment":
            wanted = one["spec"]["selector"]["matchLabels"]
            assert selects(wanted, one["spec"]["template"]["metadata"]["labels"])
            assert sum(selects(wanted, labels) for labels in pods) == 1, one["metadata"]["name"]
            # They change, selectors cannot.
            assert "helm.sh/chart" not in wanted and "app.kubernetes.io/version" not in wanted
        if one["kind"] in ("PodDisruptionBudget", "PodMonitor"):
            wanted = one["spec"]["selector"]["matchLabels"]
            assert sum(selects(wanted, labels) for labels in pods) == 1, one["metadata"]["name"]


@every
def test_services_lead_to_ports_of_pods(objects):
    for service in of_kind(objects, "Service"):
        found = [template for _, template in pod_templates(objects)
                 if selects(service["spec"]["selector"], labels_of_pods(template))]
        assert len(found) == 1, service["metadata"]["name"]
        ports = {port["name"]: port["containerPort"] for port in main_container(found[0])["ports"]}
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"], service["metadata"]["name"]


def addresses(objects):
    """NAME:PORT of Services, in arguments and configurations; names of pods, POD.SUBDOMAIN, are no Services."""
    texts = [argument for _, template in pod_templates(objects) for argument in main_container(template)["args"]]
    texts += [text for one in of_kind(objects, "ConfigMap") for text in one["data"].values()]
    return {found for text in texts for found in re.findall(r"\b(?<!\.)(flowawr-[a-z0-9-]+):(\d+)\b", text)}


@every
def test_addresses_are_those_of_services(objects):
    there = {(one["metadata"]["name"], str(port["port"])) for one in of_kind(objects, "Service")
             for port in one["spec"]["ports"]}
    found = addresses(objects)
    assert {name for name, _ in found} >= {"flowawr-learner", "flowawr-reward-ocr"}
    assert found <= there


@every
def test_what_is_mounted_is_there(objects):
    maps = {one["metadata"]["name"]: set(one["data"]) for one in of_kind(objects, "ConfigMap")}
    claims = {one["metadata"]["name"] for one in of_kind(objects, "PersistentVolumeClaim")}
    for name, template in pod_templates(objects):
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        mounts = [mount for one in [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]
                  for mount in one["volumeMounts"]]
        assert {mount["name"] for mount in mounts} == set(volumes), name
        assert not [mount for mount in mounts if "subPath" in mount], "a subPath never sees a rotated Secret"
        for volume in volumes.values():
            if "configMap" in volume:
                keys = {item["key"] for item in volume["configMap"].get("items", [])}
                assert keys <= maps[volume["configMap"]["name"]], name
            if "persistentVolumeClaim" in volume and not volume["persistentVolumeClaim"].get("readOnly"):
                assert volume["persistentVolumeClaim"]["claimName"] in claims, name


@every
def test_files_that_a_configuration_names_are_mounted_by_whoever_reads_it(objects):
    (config,) = [one["data"] for one in of_kind(objects, "ConfigMap") if "run.yaml" in one["data"]]
    for name, template in pod_templates(objects):
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        files = set()
        for mount in main_container(template)["volumeMounts"]:
            source = volumes[mount["name"]].get("secret") or volumes[mount["name"]].get("configMap") or {}
            files |= {f"{mount['mountPath']}/{item['path']}" for item in source.get("items", [])}
        read_here = [file for file in files if file.startswith("/etc/flowawr/config/")]
        assert read_here, name
        for file in read_here:
            network = yaml.safe_load(config[pathlib.Path(file).name])["network"] or {}
            named = {value for field, value in network.items() if field.endswith("_file") or field.startswith("tls_")}
            assert named <= files, (name, file)


@every
def test_jobs_start_evicted_pods_again_and_end_when_the_run_does(objects):
    for name, job in jobs(objects):
        pod, container = job["template"]["spec"], main_container(job["template"])
        assert pod["restartPolicy"] == "Never", "podFailurePolicy allows nothing else"
        assert job["podReplacementPolicy"] == "Failed", "two pods of one index at a time"
        assert job["completionMode"] == "Indexed" and job["completions"] == job["parallelism"]
        first = job["podFailurePolicy"]["rules"][0]
        assert first == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}, name
        assert "--fail-when-stopped" in container["args"], f"{name}: an evicted pod would count as done"
        for rule in job["podFailurePolicy"]["rules"][1:]:
            assert rule["onExitCodes"]["containerName"] == container["name"]
            assert rule["action"] == "FailJob" or "backoffLimitPerIndex" in job
    for one in of_kind(objects, "Deployment"):
        assert "--fail-when-stopped" not in main_container(one["spec"]["template"])["args"]


@every
def test_job_sets_are_as_their_definition_says(objects):
    for one in of_kind(objects, "JobSet"):
        jsonschema.validate(one, JOBSET)
        names = [job["name"] for job in one["spec"]["replicatedJobs"]]
        assert set(one["spec"]["successPolicy"]["targetReplicatedJobs"]) <= set(names)
        for job in one["spec"]["replicatedJobs"]:
            last = job["template"]["spec"]["completions"] - 1
            longest = f"{one['metadata']['name']}-{job['name']}-{job['replicas'] - 1}-{last}-abcde"
            assert DNS_LABEL.fullmatch(longest), longest


def test_the_definition_refuses_fields_that_nobody_knows():
    (job_set,) = of_kind(read("base"), "JobSet")
    wrong = {**job_set, "spec": {**job_set["spec"], "succesPolicy": {}}}
    with pytest.raises(jsonschema.ValidationError, match="succesPolicy"):
        jsonschema.validate(wrong, JOBSET)


@every
def test_budgets_of_jobs_count_pods_and_others_leave_somebody_room(objects):
    of_jobs = [job["template"]["metadata"]["labels"] for _, job in jobs(objects)]
    for budget in of_kind(objects, "PodDisruptionBudget"):
        spec = budget["spec"]
        if any(selects(spec["selector"]["matchLabels"], labels) for labels in of_jobs):
            name = budget["metadata"]["name"]
            assert isinstance(spec.get("minAvailable"), int) and "maxUnavailable" not in spec, name
        else:
            assert spec["maxUnavailable"] not in (0, "0%"), "nodes could never be drained"
        assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@every
def test_whoever_is_scaled_has_no_number_of_its_own(objects):
    deployments = {one["metadata"]["name"]: one for one in of_kind(objects, "Deployment")}
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        scaled = deployments[scaler["spec"]["scaleTargetRef"]["name"]]
        assert "replicas" not in scaled["spec"], "an upgrade would set it back"
        assert scaler["spec"]["minReplicas"] <= scaler["spec"]["maxReplicas"]


@every
def test_probes_can_be_answered(objects):
    (config,) = [one["data"] for one in of_kind(objects, "ConfigMap") if "run.yaml" in one["data"]]
    network = yaml.safe_load(config["run.yaml"])["network"]
    guarded = "tls_cert" in network or any(field.endswith("token_file") for field in network)
    for name, template in pod_templates(objects):
        container = main_container(template)
        assert "startupProbe" in container and "livenessProbe" in container, name
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container.get(kind)
            if not probe:
                continue
            assert not (guarded and "grpc" in probe), f"{name}: kubelet's gRPC probe speaks neither TLS nor tokens"
            if "grpc" in probe:
                assert probe["grpc"]["port"] in [port["containerPort"] for port in container["ports"]], name
            if "httpGet" in probe:
                assert probe["httpGet"]["scheme"] == ("HTTPS" if network.get("metrics_tls") else "HTTP"), name
                assert not network.get("mutual_tls"), "kubelet has no certificate"


@every
def test_pods_have_time_to_stop(objects):
    for name, template in pod_templates(objects):
        grace = template["spec"]["terminationGracePeriodSeconds"]
        before_stop = main_container(template).get("lifecycle", {}).get("preStop", {})
        pause = before_stop.get("exec", {}).get("command", ["", "0"])[1]
        # A reward server answers what is under way for 10 s; an actor hands its leases back; a learner writes a
        # checkpoint.
        assert grace >= int(pause) + (120 if name.endswith("learner") else 20), name


TALKS = [  # from, to, port, allowed
    ("actor", "learner", 50051, True), ("learner", "reward-ocr", 50052, True), ("actor", "reward-ocr", 50052, True),
    ("reward-ocr", "learner", 50051, False), ("reward-ocr", "actor", 9464, False), ("actor", "actor", 9464, False),
    ("learner", "actor", 9464, False), ("actor", "learner", 9464, False), ("actor", "learner", 22, False),
    ("check", "learner", 50051, True), ("check", "reward-ocr", 50052, False), ("stranger", "learner", 50051, False),
    ("stranger", "reward-ocr", 50052, False), ("actor", "stranger", 443, False), ("learner", "stranger", 443, False),
]


@every
@pytest.mark.parametrize("source, target, port, allowed", TALKS)
def test_only_those_talk_who_have_to(objects, source, target, port, allowed):
    def labels(component):
        if component == "stranger":
            return {"app": "stranger"}
        found = [template["metadata"]["labels"] for _, template in pod_templates(objects)
                 if template["metadata"]["labels"]["app.kubernetes.io/component"] == component]
        return found[0] if found else {"app.kubernetes.io/name": "flowawr", "app.kubernetes.io/instance": "flowawr",
                                       "app.kubernetes.io/component": component}
    assert may_talk(objects, labels(source), labels(target), port) == allowed


@every
def test_monitoring_reads_metrics_and_nothing_else_and_names_are_found(objects):
    for _, template in pod_templates(objects):
        labels = template["metadata"]["labels"]
        assert may_talk(objects, {"namespace": "monitoring"}, labels, 9464)
        assert not may_talk(objects, {"namespace": "monitoring"}, labels, 50051)
        assert not may_talk(objects, {"namespace": "default"}, labels, 9464)
        assert may_talk(objects, labels, {"namespace": "kube-system"}, 53, "UDP")
        assert not may_talk(objects, labels, {"namespace": "kube-system"}, 443)


def run_of(objects):
    (config,) = [one["data"]["run.yaml"] for one in of_kind(objects, "ConfigMap") if "run.yaml" in one["data"]]
    return yaml.safe_load(config)


def option(template, name):
    words = main_container(template)["args"]
    return words[words.index(name) + 1] if name in words else None


def component(objects, name):
    """The pod template of a component, None without one."""
    found = [template for _, template in pod_templates(objects)
             if template["metadata"]["labels"]["app.kubernetes.io/component"] == name]
    assert len(found) <= 1
    return found[0] if found else None


@every
def test_each_rank_has_a_pod_and_finds_the_first(objects):
    run = run_of(objects)
    sets = [(one, job) for one in of_kind(objects, "JobSet")
            for job in one["spec"]["replicatedJobs"] if job["name"] == "rank"]
    ranks = run.get("train", {}).get("ranks", 1)
    assert len(sets) == (ranks > 1) == (component(objects, "rank") is not None)
    for one, job in sets:
        spec, network, name = job["template"]["spec"], one["spec"]["network"], one["metadata"]["name"]
        assert (job["replicas"], spec["completions"], option(spec["template"], "--first-rank")) == (1, ranks - 1, "1")
        # What the JobSet controller calls the only pod of its Job `learner`.
        host, _, port = option(spec["template"], "--rank0").partition(":")
        assert host == f"{name}-learner-0-0.{name}" and "subdomain" not in network
        wanted = {"enableDNSHostnames": True, "publishNotReadyAddresses": True}
        assert network == wanted, "rank 0 is looked for before it is ready"
        assert port_of(run["network"]["ranks_listen"]) == int(port) and run["network"]["insecure"]
        of_rank_0 = {"operator": "All", "targetReplicatedJobs": ["learner"]}
        assert one["spec"]["successPolicy"] == of_rank_0, "a rank that is away then has no end"


def port_of(address):
    return int(address.rsplit(":", 1)[1])


@every
def test_a_lost_rank_comes_back_alone_and_rank_0_may_be_away(objects):
    for name, job in jobs(objects):
        if not name.endswith("-rank"):
            continue
        assert "backoffLimit" not in job and job["backoffLimitPerIndex"] > 0, "each on its own account"
        away = {"action": "Ignore", "onExitCodes": {"containerName": "learner", "operator": "In", "values": [69]}}
        assert job["podFailurePolicy"]["rules"][1:] == [away], (
            "as long as rank 0 is loaded elsewhere, the others end with 69 again and again")
        volumes = job["template"]["spec"]["volumes"]
        assert not [one for one in volumes if "persistentVolumeClaim" in one
                    and not one["persistentVolumeClaim"].get("readOnly")], (
            "only one node may have the volume of the runs")


@every
def test_ranks_speak_to_rank_0_at_any_port_and_nobody_else_to_them(objects):
    rank = component(objects, "rank")
    if not rank:
        return
    labels = {name: (component(objects, name) or {"metadata": {"labels": {"app": name}}})["metadata"]["labels"]
              for name in ("learner", "rank", "actor", "reward-ocr", "stranger")}
    for port in (29400, 40000):
        assert may_talk(objects, labels["rank"], labels["learner"], port)
        assert may_talk(objects, labels["learner"], labels["rank"], port)
        for other in ("actor", "reward-ocr", "stranger"):
            assert not may_talk(objects, labels[other], labels["rank"], port), other
            assert not may_talk(objects, labels["rank"], labels[other], port), other
            assert not may_talk(objects, labels[other], labels["learner"], port), other


@every
def test_actors_reach_each_other_where_they_serve_adapters_and_only_there(objects):
    actor = component(objects, "actor")
    listen, labels = option(actor, "--peer-listen"), actor["metadata"]["labels"]
    assert may_talk(objects, labels, labels, 7100) == (listen is not None)
    assert listen is None or port_of(listen) == 7100
    assert ({"name": "peers", "containerPort": 7100} in main_container(actor)["ports"]) == (listen is not None)
    (network,) = [yaml.safe_load(one["data"]["actor.yaml"])["network"]
                  for one in of_kind(objects, "ConfigMap") if "actor.yaml" in one["data"]]
    is_needed = listen is not None and "tls_cert" in network
    assert ("peer_tls_name" in network) == is_needed, "no certificate names the address of a pod"


@every
def test_devices_are_asked_for_and_allowed_alike(objects):
    for name, template in pod_templates(objects):
        resources = main_container(template)["resources"]
        of = [resources.get(side, {}).get("nvidia.com/gpu") for side in ("requests", "limits")]
        assert of[0] == of[1], f"{name}: an extended resource is not shared out"
        tolerated = [one["key"] for one in template["spec"].get("tolerations", []) if "key" in one]
        assert of[1] is None or "nvidia.com/gpu" in tolerated, f"{name}: nodes with GPUs are tainted"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_with_devices_says_that_none_has_confirmed_it(overlay):
    objects = read(f"overlays/{overlay}")
    asks_for_devices = any("nvidia.com/gpu" in main_container(template)["resources"].get("limits", {})
                           for _, template in pod_templates(objects))
    for file in (CHART / f"presets/{overlay}.yaml",
                 CHART.parent.parent / f"kubernetes/overlays/{overlay}/kustomization.yaml"):
        assert ("Never tried with a GPU" in file.read_text()) == asks_for_devices, file
    # Fails where the image has LibTorch's CPU build, instead of computing there.
    assert (run_of(objects)["train"].get("devices") == ["cuda"]) == asks_for_devices
    images = {main_container(template)["image"] for _, template in pod_templates(objects)}
    assert images == {"flowawr:cuda" if asks_for_devices else "flowawr:latest"}
