#include <map>
#include <string>

#include "common/config/run_config.h"
#include "common/config/schema.h"
#include "yaml-cpp/yaml.h"

namespace flowawr {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void WriteMessage(const Message& message, YAML::Emitter& out);

// `index` is that of a list's element; -1 for a single value.
void WriteValue(const Message& message, const FieldDescriptor* field, int index, YAML::Emitter& out) {
  const Reflection& reflection = *message.GetReflection();
  const auto get = [&](auto single, auto repeated) {
    return index < 0 ? (reflection.*single)(message, field) : (reflection.*repeated)(message, field, index);
  };
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return WriteMessage(
          index < 0 ? reflection.GetMessage(message, field) : reflection.GetRepeatedMessage(message, field, index),
          out);
    case FieldDescriptor::CPPTYPE_STRING:
      out << YAML::DoubleQuoted << get(&Reflection::GetString, &Reflection::GetRepeatedString);
      return;
    case FieldDescriptor::CPPTYPE_BOOL:
      out << get(&Reflection::GetBool, &Reflection::GetRepeatedBool);
      return;
    case FieldDescriptor::CPPTYPE_ENUM:
      out << EnumValueName(*get(&Reflection::GetEnum, &Reflection::GetRepeatedEnum));
      return;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      out << FormatNumber(get(&Reflection::GetDouble, &Reflection::GetRepeatedDouble));
      return;
    case FieldDescriptor::CPPTYPE_UINT64:
      out << get(&Reflection::GetUInt64, &Reflection::GetRepeatedUInt64);
      return;
    default:
      out << get(&Reflection::GetInt32, &Reflection::GetRepeatedInt32);
      return;
  }
}

// In the order of the names: that of a proto map is arbitrary.
void WriteMap(const Message& message, const FieldDescriptor* field, YAML::Emitter& out) {
  std::map<std::string, std::string> entries;
  for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i) {
    const Message& entry = message.GetReflection()->GetRepeatedMessage(message, field, i);
    entries[entry.GetReflection()->GetString(entry, field->message_type()->map_key())] =
        entry.GetReflection()->GetString(entry, field->message_type()->map_value());
  }
  out << YAML::Flow << YAML::BeginMap;
  for (const auto& [name, value] : entries)
    out << YAML::Key << YAML::DoubleQuoted << name << YAML::Value << YAML::DoubleQuoted << value;
  out << YAML::EndMap;
}

void WriteMessage(const Message& message, YAML::Emitter& out) {
  out << YAML::BeginMap;
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    const bool is_left_out = field->real_containing_oneof() != nullptr && !message.GetReflection()->HasField(message, field);
    if (is_left_out || !RuleOf(*field).moved_to().empty()) continue;
    out << YAML::Key << field->name() << YAML::Value;
    if (!field->is_repeated()) {
      WriteValue(message, field, -1, out);
      continue;
    }
    if (field->is_map()) {
      WriteMap(message, field, out);
      continue;
    }
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) out << YAML::Flow;
    out << YAML::BeginSeq;
    for (int k = 0; k < message.GetReflection()->FieldSize(message, field); ++k) WriteValue(message, field, k, out);
    out << YAML::EndSeq;
  }
  out << YAML::EndMap;
}

}  // namespace

absl::StatusOr<std::string> RunConfigToYaml(const v1::RunConfig& config) {
  YAML::Emitter out;
  WriteMessage(config, out);
  std::string yaml = std::string(out.c_str()) + "\n";
  // A message that no configuration file can give, e.g. an enum left unset, must not become a file that none can read.
  if (const auto again = ParseRunConfig(yaml, "the configuration"); !again.ok()) return again.status();
  return yaml;
}

}  // namespace flowawr
