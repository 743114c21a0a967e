// Messages with texts from outside that can be sent, whatever bytes folders and files are named by.
#pragma once

#include <google/protobuf/message.h>

namespace flowawr {

// U+FFFD in place of every malformed sequence of every `string` field, those of maps, lists and messages within
// included: a message with one that is not UTF-8 is read by nobody, and has no JSON form. Pure.
void CleanTexts(google::protobuf::Message* message);

template <typename T>
T CleanText(T message) {
  CleanTexts(&message);
  return message;
}

}  // namespace flowawr
