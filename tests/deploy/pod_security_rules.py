"""The restricted Pod Security Standard as a table, and what this project asks of its pods beyond it."""

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def containers(pod):
    return [*pod.get("initContainers", []), *pod["containers"], *pod.get("ephemeralContainers", [])]


def each(pod, holds):
    return all(holds(one.get("securityContext", {})) for one in containers(pod))


def either(pod, field, wanted):
    """Said by the pod and contradicted by no container, or said by every container."""
    def value(context):
        return context.get(field)
    outer = value(pod.get("securityContext", {}))
    return all(wanted(inner if (inner := value(one.get("securityContext", {}))) is not None else outer)
               for one in containers(pod))


# What must hold of a pod's spec, by name.
RULES = {
    "no namespace of the host": lambda pod: not (pod.get("hostNetwork") or pod.get("hostPID") or pod.get("hostIPC")),
    "not privileged": lambda pod: each(pod, lambda context: not context.get("privileged")),
    "all capabilities dropped, none added but NET_BIND_SERVICE": lambda pod: each(
        pod, lambda context: "ALL" in context.get("capabilities", {}).get("drop", [])
        and set(context.get("capabilities", {}).get("add", [])) <= {"NET_BIND_SERVICE"}),
    "volumes of the allowed kinds": lambda pod: all(set(volume) - {"name"} <= VOLUMES
                                                    for volume in pod.get("volumes", [])),
    "no port of the host": lambda pod: all(not port.get("hostPort") for one in containers(pod)
                                           for port in one.get("ports", [])),
    "no privilege escalation": lambda pod: each(pod, lambda context: context.get("allowPrivilegeEscalation") is False),
    "not root": lambda pod: either(pod, "runAsNonRoot", lambda value: value is True)
    and either(pod, "runAsUser", lambda value: value is None or value > 0),
    "seccomp": lambda pod: either(pod, "seccompProfile",
                                  lambda value: (value or {}).get("type") in ("RuntimeDefault", "Localhost")),
    "no unusual SELinux, AppArmor, sysctls, /proc": lambda pod: not pod.get("securityContext", {}).get("sysctls")
    and each(pod, lambda context: not context.get("procMount") and not context.get("seLinuxOptions")
             and not context.get("appArmorProfile")),
    # Beyond the standard.
    "a user by number, as kubelet cannot tell whether a name is root": lambda pod: either(
        pod, "runAsUser", lambda value: isinstance(value, int)),
    "a root file system that nobody writes": lambda pod: each(
        pod, lambda context: context.get("readOnlyRootFilesystem") is True),
    "no token of the API server": lambda pod: pod.get("automountServiceAccountToken") is False,
    "no environment made of other Services": lambda pod: pod.get("enableServiceLinks") is False,
    "a bounded /tmp": lambda pod: all(
        any(mount["mountPath"] == "/tmp" for mount in one.get("volumeMounts", [])) for one in containers(pod))
    and all("sizeLimit" in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume),
    "bounded memory": lambda pod: all("memory" in one.get("resources", {}).get("limits", {})
                                      for one in containers(pod)),
    "secrets that others on the node cannot read": lambda pod: all(
        volume["secret"].get("defaultMode", 0o644) & 0o007 == 0
        for volume in pod.get("volumes", []) if "secret" in volume),
}


def broken(pod):
    return [name for name, holds in RULES.items() if not holds(pod)]
