#include "common/telemetry/message_json.h"

#include <cmath>
#include <map>
#include <string>

#include "absl/strings/escaping.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Json = nlohmann::ordered_json;

Json Finite(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json Text(const FieldDescriptor& field, const std::string& value) {
  return field.type() == FieldDescriptor::TYPE_BYTES ? absl::BytesToHexString(value) : SanitizeUtf8(value);
}

// The field's value, or of a repeated one its element at `index`.
Json Value(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& reflection = *message.GetReflection();
  const bool is_one = !field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return is_one ? reflection.GetInt32(message, &field) : reflection.GetRepeatedInt32(message, &field, index);
    case FieldDescriptor::CPPTYPE_INT64:
      return is_one ? reflection.GetInt64(message, &field) : reflection.GetRepeatedInt64(message, &field, index);
    case FieldDescriptor::CPPTYPE_UINT32:
      return is_one ? reflection.GetUInt32(message, &field) : reflection.GetRepeatedUInt32(message, &field, index);
    case FieldDescriptor::CPPTYPE_UINT64:
      return is_one ? reflection.GetUInt64(message, &field) : reflection.GetRepeatedUInt64(message, &field, index);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Finite(is_one ? reflection.GetDouble(message, &field)
                           : reflection.GetRepeatedDouble(message, &field, index));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return Finite(is_one ? reflection.GetFloat(message, &field) : reflection.GetRepeatedFloat(message, &field, index));
    case FieldDescriptor::CPPTYPE_BOOL:
      return is_one ? reflection.GetBool(message, &field) : reflection.GetRepeatedBool(message, &field, index);
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto* value =
          is_one ? reflection.GetEnum(message, &field) : reflection.GetRepeatedEnum(message, &field, index);
      return value->name();
    }
    case FieldDescriptor::CPPTYPE_STRING:
      return Text(field, is_one ? reflection.GetString(message, &field)
                                : reflection.GetRepeatedString(message, &field, index));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return MessageAsJson(is_one ? reflection.GetMessage(message, &field)
                                  : reflection.GetRepeatedMessage(message, &field, index));
  }
  return Json();
}

// By key, so that the same map gives the same text.
Json MapValue(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  std::map<std::string, Json> sorted;
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    const Json key = Value(entry, *field.message_type()->map_key(), 0);
    sorted[key.is_string() ? key.get<std::string>() : key.dump()] = Value(entry, *field.message_type()->map_value(), 0);
  }
  Json json = Json::object();
  for (auto& [key, value] : sorted) json[key] = std::move(value);
  return json;
}

}  // namespace

Json MessageAsJson(const Message& message) {
  Json json = Json::object();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message.GetDescriptor()->field(i);
    Json& place = json[field.name()];
    if (field.is_map()) {
      place = MapValue(message, field);
    } else if (field.is_repeated()) {
      place = Json::array();
      for (int j = 0; j < message.GetReflection()->FieldSize(message, &field); ++j)
        place.push_back(Value(message, field, j));
    } else if (!field.has_presence() || message.GetReflection()->HasField(message, &field)) {
      place = Value(message, field, 0);
    }
  }
  return json;
}

}  // namespace flowawr
