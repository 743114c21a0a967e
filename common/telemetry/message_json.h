// A message as JSON for scripts, by its field names in the proto: `flowawr status --json`.
#pragma once

#include <nlohmann/json.hpp>

#include "google/protobuf/message.h"

namespace flowawr {

// Every field is there. Numbers are numbers, 64-bit ones too (protobuf's own JSON has them as text); bytes are hex;
// enum values are their names; what is not set, not known or not finite is null. Pure.
nlohmann::ordered_json MessageAsJson(const google::protobuf::Message& message);

}  // namespace flowawr
