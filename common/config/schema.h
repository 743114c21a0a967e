// What the configuration's proto schema says about its fields, in words.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "flowawr/v1/config.pb.h"
#include "google/protobuf/descriptor.h"

namespace flowawr {

// A field's default, bounds and help.
const v1::FieldRule& RuleOf(const google::protobuf::FieldDescriptor& field);

// What may be written there: "a whole number from 1 to 1024", "soft or hard", "a list of text".
std::string Accepted(const google::protobuf::FieldDescriptor& field);

// Enum values are written in lower case; the zero value stands for nothing and has no name.
std::string EnumValueName(const google::protobuf::EnumValueDescriptor& value);
std::vector<std::string> EnumValueNames(const google::protobuf::EnumDescriptor& type);

// Older names of fields that have moved are left out.
std::vector<std::string> FieldNames(const google::protobuf::Descriptor& message);

// "a.b" for a field called `name` anywhere below `message`; empty when there is none. For people who wrote a field into
// the wrong section.
std::string FindField(const google::protobuf::Descriptor& message, absl::string_view name);

// A number as people write it: 1000, 0.0003.
std::string FormatNumber(double value);

}  // namespace flowawr
