"""What NetworkPolicies let through, worked out as a cluster would."""
from manifests import of_kind, selects


def _matches(labels, selector):
    return selects(selector.get("matchLabels", {}), labels)


def _peer_allows(rule, side, other):
    """`other`: labels of a pod of the same namespace, or {"namespace": name} of one elsewhere."""
    peers = rule.get(side)
    if not peers:
        return True
    for peer in peers:
        if "namespaceSelector" in peer and "namespace" in other:
            wanted = peer["namespaceSelector"].get("matchLabels", {})
            if selects(wanted, {"kubernetes.io/metadata.name": other["namespace"]}):
                return True
        elif "podSelector" in peer and "namespaceSelector" not in peer and "namespace" not in other:
            if _matches(other, peer["podSelector"]):
                return True
    return False


def _port_allows(rule, port, protocol):
    ports = rule.get("ports")
    return not ports or any(one["port"] == port and one.get("protocol", "TCP") == protocol for one in ports)


def _one_way(policies, direction, side, pod, other, port, protocol):
    if "namespace" in pod:
        return True  # not ours to say
    mine = [one["spec"] for one in policies if direction.capitalize() in one["spec"]["policyTypes"]
            and _matches(pod, one["spec"]["podSelector"])]
    if not mine:
        return True
    return any(_peer_allows(rule, side, other) and _port_allows(rule, port, protocol)
               for policy in mine for rule in policy.get(direction, []))


def may_talk(objects, source, target, port, protocol="TCP"):
    policies = of_kind(objects, "NetworkPolicy")
    return (_one_way(policies, "egress", "to", source, target, port, protocol)
            and _one_way(policies, "ingress", "from", target, source, port, protocol))
