#include "learner/clean_text.h"

#include <string>
#include <vector>

#include "common/base/utf8.h"

namespace flowawr {

// A map is, by reflection, a list of entries: messages of a key and a value.
void CleanTexts(google::protobuf::Message* message) {
  const google::protobuf::Reflection& reflection = *message->GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(*message, &fields);
  for (const google::protobuf::FieldDescriptor* field : fields) {
    const int size = field->is_repeated() ? reflection.FieldSize(*message, field) : 1;
    for (int i = 0; i < size; ++i) {
      if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
        CleanTexts(field->is_repeated() ? reflection.MutableRepeatedMessage(message, field, i)
                                        : reflection.MutableMessage(message, field));
      } else if (field->type() == google::protobuf::FieldDescriptor::TYPE_STRING) {
        const std::string text = field->is_repeated() ? reflection.GetRepeatedString(*message, field, i)
                                                      : reflection.GetString(*message, field);
        if (IsValidUtf8(text)) continue;
        if (field->is_repeated())
          reflection.SetRepeatedString(message, field, i, SanitizeUtf8(text));
        else
          reflection.SetString(message, field, SanitizeUtf8(text));
      }
    }
  }
}

}  // namespace flowawr
