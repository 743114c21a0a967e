"""Every pod runs under the restricted standard; and the rules that say so do find what they are for."""
import copy

import pytest

from manifests import KUSTOMIZATIONS, of_kind, pod_templates, read
from pod_security_rules import RULES, broken


@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_every_pod_is_restricted(kustomization):
    templates = pod_templates(read(kustomization))
    assert len(templates) >= 3
    for name, template in templates:
        assert broken(template["spec"]) == [], name


def test_the_namespace_enforces_it():
    (namespace,) = of_kind(read("base"), "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_no_account_has_rights(kustomization):
    objects = read(kustomization)
    assert not [one["kind"] for one in objects
                if one["kind"] in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")]
    accounts = of_kind(objects, "ServiceAccount")
    assert accounts and all(one["automountServiceAccountToken"] is False for one in accounts)
    names = {one["metadata"]["name"] for one in accounts}
    assert {template["spec"]["serviceAccountName"] for _, template in pod_templates(objects)} <= names


def spoilt(change):
    pod = copy.deepcopy(pod_templates(read("base"))[0][1]["spec"])
    change(pod, pod["containers"][0]["securityContext"])
    return pod


SPOILT = {
    "no namespace of the host": lambda pod, _: pod.update(hostNetwork=True),
    "not privileged": lambda _, context: context.update(privileged=True),
    "all capabilities dropped, none added but NET_BIND_SERVICE": lambda _, context: context.update(
        capabilities={"drop": ["ALL"], "add": ["SYS_PTRACE"]}),
    "volumes of the allowed kinds": lambda pod, _: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    "no port of the host": lambda pod, _: pod["containers"][0]["ports"][0].update(hostPort=80),
    "no privilege escalation": lambda _, context: context.pop("allowPrivilegeEscalation"),
    "not root": lambda _, context: context.update(runAsUser=0),
    "seccomp": lambda pod, _: pod["securityContext"].pop("seccompProfile"),
    "no unusual SELinux, AppArmor, sysctls, /proc": lambda _, context: context.update(procMount="Unmasked"),
    "a user by number, as kubelet cannot tell whether a name is root": lambda pod, _: (
        pod["securityContext"].pop("runAsUser")),
    "a root file system that nobody writes": lambda _, context: context.update(readOnlyRootFilesystem=False),
    "no token of the API server": lambda pod, _: pod.pop("automountServiceAccountToken"),
    "no environment made of other Services": lambda pod, _: pod.pop("enableServiceLinks"),
    "a bounded /tmp": lambda pod, _: pod["volumes"].append({"name": "more", "emptyDir": {}}),
    "bounded memory": lambda pod, _: pod["containers"][0]["resources"].pop("limits"),
    "secrets that others on the node cannot read": lambda pod, _: pod["volumes"].append(
        {"name": "key", "secret": {"secretName": "key"}}),
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_finds_what_it_is_for(rule):
    assert rule in broken(spoilt(SPOILT[rule]))
