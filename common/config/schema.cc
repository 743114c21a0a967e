#include "common/config/schema.h"

#include <charconv>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace flowawr {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;

std::string AcceptedNumber(absl::string_view what, const FieldDescriptor& field) {
  const v1::FieldRule& rule = RuleOf(field);
  std::string text(what);
  if (rule.has_min()) absl::StrAppend(&text, " from ", FormatNumber(rule.min()));
  if (rule.has_max()) absl::StrAppend(&text, rule.has_min() ? " to " : " up to ", FormatNumber(rule.max()));
  return text;
}

std::string AcceptedElement(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return absl::StrJoin(EnumValueNames(*field.enum_type()), " or ");
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return absl::StrCat("a section of ", absl::StrJoin(FieldNames(*field.message_type()), ", "));
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return AcceptedNumber("a number", field);
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
      return AcceptedNumber("a whole number, not negative", field);
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
      return AcceptedNumber("a whole number", field);
    default:
      return "text";
  }
}

}  // namespace

const v1::FieldRule& RuleOf(const FieldDescriptor& field) { return field.options().GetExtension(v1::rule); }

std::string Accepted(const FieldDescriptor& field) {
  if (field.is_map()) return "a section of names and values";
  return absl::StrCat(field.is_repeated() ? "a list of " : "", AcceptedElement(field));
}

std::string EnumValueName(const EnumValueDescriptor& value) { return absl::AsciiStrToLower(value.name()); }

std::vector<std::string> EnumValueNames(const EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i)
    if (type.value(i)->number() != 0) names.push_back(EnumValueName(*type.value(i)));
  return names;
}

std::vector<std::string> FieldNames(const Descriptor& message) {
  std::vector<std::string> names;
  for (int i = 0; i < message.field_count(); ++i)
    if (RuleOf(*message.field(i)).moved_to().empty()) names.push_back(message.field(i)->name());
  return names;
}

std::string FindField(const Descriptor& message, absl::string_view name) {
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    if (!RuleOf(field).moved_to().empty()) continue;
    if (field.name() == name) return field.name();
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field.is_repeated()) continue;
    if (const std::string below = FindField(*field.message_type(), name); !below.empty())
      return absl::StrCat(field.name(), ".", below);
  }
  return "";
}

std::string FormatNumber(double value) {
  char buffer[64];
  const double size = std::fabs(value);
  const bool is_plain = size == 0 || (size >= 1e-5 && size < 1e15);
  const auto end = is_plain ? std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed).ptr
                            : std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  return std::string(buffer, end);
}

}  // namespace flowawr
