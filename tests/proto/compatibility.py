"""What would break those who speak the protos of before: older processes, checkpoints, configurations, scripts.

Compares two FileDescriptorSets. A field, value, message, enum, service or method may be added, and never removed,
renamed, renumbered or retyped: numbers are on the wire and in checkpoints, names in YAML and JSON.

usage: compatibility.py BASELINE.binpb NOW.binpb
"""
import sys

from google.protobuf import descriptor_pb2 as pb

TYPES = {number: name for name, number in pb.FieldDescriptorProto.Type.items()}
LABELS = {number: name for name, number in pb.FieldDescriptorProto.Label.items()}


def load(path):
    found = pb.FileDescriptorSet()
    with open(path, "rb") as file:
        found.ParseFromString(file.read())
    return found


def _field(message, field):
    oneof = ""
    if field.HasField("oneof_index"):
        oneof = "optional" if field.proto3_optional else message.oneof_decl[field.oneof_index].name
    kind = TYPES[field.type].removeprefix("TYPE_").lower()
    return {"name": field.name, "type": f"{kind} {field.type_name}".strip(),
            "label": LABELS[field.label].removeprefix("LABEL_").lower(),
            "oneof": oneof, "json name": field.json_name}


def _messages(prefix, messages, enums, into):
    for enum in enums:
        into[f"enum {prefix}{enum.name}"] = {value.number: {"name": value.name} for value in enum.value}
    for message in messages:
        name = f"{prefix}{message.name}"
        into[f"message {name}"] = {field.number: _field(message, field) for field in message.field}
        _messages(name + ".", message.nested_type, message.enum_type, into)


def contents(files):
    """{"message NAME" | "enum NAME" | "service NAME": {number or method: what it is}} of this project's files."""
    found = {}
    for file in files.file:
        if file.package.startswith("google."):
            continue
        prefix = file.package + "."
        _messages(prefix, file.message_type, file.enum_type, found)
        for extension in file.extension:
            found.setdefault(f"extensions of {extension.extendee}", {})[extension.number] = _field(None, extension)
        for service in file.service:
            found[f"service {prefix}{service.name}"] = {
                method.name: {"request": method.input_type, "answer": method.output_type,
                              "streams": (method.client_streaming, method.server_streaming)}
                for method in service.method}
    return found


def breaks(before, now):
    """One line for everything that is not as it was."""
    found, there = [], contents(now)
    for name, old in contents(before).items():
        if name not in there:
            found.append(f"{name} is gone")
            continue
        for key, what in old.items():
            new = there[name].get(key)
            shown = f"{name}, {what.get('name', key)} ({key})" if isinstance(key, int) else f"{name}, {key}"
            if new is None:
                found.append(f"{shown} is gone")
                continue
            found += [f"{shown}: its {part} is {new[part]!r}, was {what[part]!r}"
                      for part in what if new[part] != what[part]]
    return found


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    told = breaks(load(sys.argv[1]), load(sys.argv[2]))
    print("\n".join(told), end="\n" if told else "")
    sys.exit(1 if told else 0)
