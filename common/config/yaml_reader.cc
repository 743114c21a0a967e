#include "common/config/yaml_reader.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/utf8.h"
#include "common/base/nearest_word.h"
#include "common/config/schema.h"

namespace flowawr {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;
using google::protobuf::Reflection;

std::string Join(const std::string& path, absl::string_view name) {
  return path.empty() ? std::string(name) : absl::StrCat(path, ".", name);
}

// Set or add, by what the field is.
template <typename Value, typename SetFunction, typename AddFunction>
void Store(const FieldDescriptor& field, Message& message, const Value& value, SetFunction set, AddFunction add) {
  const Reflection& reflection = *message.GetReflection();
  if (field.is_repeated()) {
    (reflection.*add)(&message, &field, value);
  } else {
    (reflection.*set)(&message, &field, value);
  }
}

// One entry of a map of text to text.
void SetMapEntry(const FieldDescriptor& field, const std::string& key, const std::string& value, Message& message) {
  const Reflection& reflection = *message.GetReflection();
  const FieldDescriptor* key_field = field.message_type()->map_key();
  const FieldDescriptor* value_field = field.message_type()->map_value();
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    Message* entry = reflection.MutableRepeatedMessage(&message, &field, i);
    if (entry->GetReflection()->GetString(*entry, key_field) == key)
      return entry->GetReflection()->SetString(entry, value_field, value);
  }
  Message* entry = reflection.AddMessage(&message, &field);
  entry->GetReflection()->SetString(entry, key_field, key);
  entry->GetReflection()->SetString(entry, value_field, value);
}

}  // namespace

void YamlReader::Remember(const std::string& path, const YAML::Mark& mark) {
  places_[path] = !override_.empty() ? absl::StrCat("--set ", override_)
                  : mark.is_null()   ? source_
                                     : absl::StrCat(source_, ":", mark.line + 1, ":", mark.column + 1);
}

void YamlReader::AddError(const std::string& path, absl::string_view problem) {
  std::string place = override_.empty() ? source_ : absl::StrCat("--set ", override_);
  // While an override is read, the mistake is in it, whatever the file says around that path.
  for (std::string around = path; override_.empty(); around.resize(around.rfind('.'))) {
    if (const auto found = places_.find(around); found != places_.end()) {
      place = found->second;
      break;
    }
    if (!absl::StrContains(around, '.')) break;
  }
  errors_.push_back(absl::StrCat(place, ": ", path, path.empty() ? "" : ": ", problem));
}

void YamlReader::ReadText(absl::string_view text, Message& message) {
  root_ = message.GetDescriptor();
  FillDefaults(message);
  places_.clear();
  if (const auto bad = FindInvalidUtf8(text); bad.has_value()) {
    const auto line = 1 + std::count(text.begin(), text.begin() + *bad, '\n');
    errors_.push_back(absl::StrCat(source_, ":", line, ": not UTF-8; save the file as UTF-8"));
    return;
  }
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    if (documents.size() > 1) return AddError("", "holds several YAML documents (`---`); write one");
    if (!documents.empty()) ReadMessage(documents[0], "", message);
    ChooseSections(message);
  } catch (const YAML::Exception& error) {
    errors_.push_back(
        absl::StrCat(source_, ":", error.mark.line + 1, ":", error.mark.column + 1, ": not YAML: ", error.msg));
  }
}

void YamlReader::ReadMessage(const YAML::Node& node, const std::string& path, Message& message) {
  if (node.IsNull()) return;  // a section with nothing in it
  const Descriptor& type = *message.GetDescriptor();
  if (!node.IsMap()) {
    return AddError(
        path, absl::StrCat("expected a section (`name: value` lines) of ", absl::StrJoin(FieldNames(type), ", ")));
  }
  std::set<std::string> seen;
  std::map<const OneofDescriptor*, std::string> chosen;  // the path of the section that was written
  std::vector<std::pair<const FieldDescriptor*, YAML::Node>> moved;
  for (const auto& entry : node) {
    if (!entry.first.IsScalar()) {
      AddError(path, "a field's name must be plain text");
      continue;
    }
    const std::string name = entry.first.Scalar();
    const std::string field_path = Join(path, name);
    if (!seen.insert(name).second) {
      const std::string first = places_[field_path];
      Remember(field_path, entry.first.Mark());
      AddError(field_path, absl::StrCat("written twice (first at ", first, "); keep one"));
      continue;
    }
    Remember(field_path, entry.first.Mark());
    const FieldDescriptor* field = type.FindFieldByName(name);
    if (field == nullptr) {
      UnknownField(name, field_path, type);
      continue;
    }
    if (const OneofDescriptor* choice = field->real_containing_oneof()) {
      const auto [first, is_first] = chosen.try_emplace(choice, field_path);
      if (!is_first) {
        AddError(field_path, absl::StrCat("excludes ", first->second, " (", places_[first->second], "); keep one of them"));
        continue;
      }
    }
    if (RuleOf(*field).moved_to().empty())
      ReadField(entry.second, *field, field_path, message);
    else
      moved.emplace_back(field, entry.second);
  }
  // Once it is known which section was chosen.
  for (const auto& [field, value] : moved) ReadMoved(value, *field, Join(path, field->name()), message);
}

void YamlReader::ReadMoved(const YAML::Node& node, const FieldDescriptor& field, const std::string& path,
                           Message& message) {
  const std::string prefix(path, 0, path.size() - field.name().size());
  const std::vector<std::string> steps = absl::StrSplit(RuleOf(field).moved_to(), '.');
  Message* owner = &message;
  for (size_t i = 0; i + 1 < steps.size(); ++i) {
    const FieldDescriptor* section = owner->GetDescriptor()->FindFieldByName(steps[i]);
    if (const OneofDescriptor* choice = section->real_containing_oneof()) {
      const FieldDescriptor* other = owner->GetReflection()->GetOneofFieldDescriptor(*owner, choice);
      if (other != nullptr && other != section)
        return AddError(path, absl::StrCat("is an option of ", section->name(), ", but ", prefix, other->name(),
                                           " is chosen; remove it"));
    }
    owner = Choose(*section, *owner);
  }
  const std::string now = absl::StrCat(prefix, RuleOf(field).moved_to());
  if (override_.empty() && places_.contains(now))
    return AddError(path, absl::StrCat("is the older name of ", now, " (", places_[now], "); keep that"));
  ReadField(node, *owner->GetDescriptor()->FindFieldByName(steps.back()), path, *owner);
}

Message* YamlReader::Choose(const FieldDescriptor& field, Message& message) {
  const Reflection& reflection = *message.GetReflection();
  const bool is_new = field.real_containing_oneof() != nullptr && !reflection.HasField(message, &field);
  Message* section = reflection.MutableMessage(&message, &field);
  if (is_new) FillDefaults(*section);
  return section;
}

void YamlReader::UnknownField(const std::string& name, const std::string& path, const Descriptor& type) {
  const std::vector<std::string> names = FieldNames(type);
  std::string hint = DidYouMean(name, names);
  if (const std::string elsewhere = FindField(*root_, name); hint.empty() && !elsewhere.empty())
    hint = absl::StrCat("; did you mean \"", elsewhere, "\"?");
  AddError(path, absl::StrCat("unknown field", hint, " (accepted here: ", absl::StrJoin(names, ", "), ")"));
}

void YamlReader::ReadField(const YAML::Node& node, const FieldDescriptor& field, const std::string& path,
                           Message& message) {
  if (!field.is_repeated()) return ReadValue(node, field, path, message);
  if (field.is_map()) return ReadMap(node, field, path, message);
  if (!node.IsSequence()) {
    const bool is_one_alone = node.IsScalar() && field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE;
    return AddError(path, absl::StrCat("expected ", Accepted(field),
                                       is_one_alone ? absl::StrCat("; write [", node.Scalar(), "]") : ""));
  }
  message.GetReflection()->ClearField(&message, &field);
  int index = 0;
  for (const YAML::Node& element : node) {
    const std::string element_path = absl::StrCat(path, ".", index++);
    Remember(element_path, element.Mark());
    ReadValue(element, field, element_path, message);
  }
}

void YamlReader::ReadMap(const YAML::Node& node, const FieldDescriptor& field, const std::string& path,
                         Message& message) {
  message.GetReflection()->ClearField(&message, &field);
  if (node.IsNull()) return;
  if (!node.IsMap()) return AddError(path, absl::StrCat("expected ", Accepted(field)));
  std::set<std::string> seen;
  for (const auto& entry : node) {
    if (!entry.first.IsScalar() || !entry.second.IsScalar()) {
      AddError(path, absl::StrCat("expected ", Accepted(field), ", each a single value"));
      continue;
    }
    const std::string entry_path = Join(path, entry.first.Scalar());
    Remember(entry_path, entry.first.Mark());
    if (!seen.insert(entry.first.Scalar()).second) {
      AddError(entry_path, "written twice; keep one");
      continue;
    }
    SetMapEntry(field, entry.first.Scalar(), entry.second.Scalar(), message);
  }
}

void YamlReader::ReadValue(const YAML::Node& node, const FieldDescriptor& field, const std::string& path,
                           Message& message) {
  const Reflection& reflection = *message.GetReflection();
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    if (!field.is_repeated()) return ReadMessage(node, path, *Choose(field, message));
    Message& element = *reflection.AddMessage(&message, &field);
    FillDefaults(element);
    return ReadMessage(node, path, element);
  }
  if (node.IsNull())
    return AddError(path, absl::StrCat("has no value; write ",
                                       field.cpp_type() == FieldDescriptor::CPPTYPE_STRING ? "\"\" for empty text"
                                                                                           : Accepted(field),
                                       ", or remove the line to keep the default"));
  if (!node.IsScalar())
    return AddError(path, absl::StrCat("expected ", Accepted(field), ", found a ", node.IsMap() ? "section" : "list"));
  const std::string& text = node.Scalar();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return Store(field, message, text, &Reflection::SetString, &Reflection::AddString);
    case FieldDescriptor::CPPTYPE_BOOL: {
      const bool is_true = absl::EqualsIgnoreCase(text, "true");
      if (!is_true && !absl::EqualsIgnoreCase(text, "false")) break;
      return Store(field, message, is_true, &Reflection::SetBool, &Reflection::AddBool);
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      for (int i = 0; i < field.enum_type()->value_count(); ++i) {
        const EnumValueDescriptor* value = field.enum_type()->value(i);
        if (value->number() != 0 && absl::EqualsIgnoreCase(value->name(), text))
          return Store(field, message, value, &Reflection::SetEnum, &Reflection::AddEnum);
      }
      return AddError(path, absl::StrCat("\"", text, "\" is not known; accepted: ", Accepted(field),
                                         DidYouMean(text, EnumValueNames(*field.enum_type()))));
    }
    default:
      return ReadNumber(text, field, path, message);
  }
  AddError(path, absl::StrCat("\"", text, "\" is not ", Accepted(field)));
}

void YamlReader::ReadNumber(const std::string& text, const FieldDescriptor& field, const std::string& path,
                            Message& message) {
  const v1::FieldRule& rule = RuleOf(field);
  const auto is_outside = [&rule](double value) {
    return (rule.has_min() && value < rule.min()) || (rule.has_max() && value > rule.max());
  };
  bool is_number = false;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      double value = 0;
      is_number = absl::SimpleAtod(text, &value) && std::isfinite(value);
      if (is_number && !is_outside(value))
        return Store(field, message, value, &Reflection::SetDouble, &Reflection::AddDouble);
      break;
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      uint64_t value = 0;
      is_number = absl::SimpleAtoi(text, &value);
      if (is_number && !is_outside(static_cast<double>(value)))
        return Store(field, message, value, &Reflection::SetUInt64, &Reflection::AddUInt64);
      break;
    }
    default: {
      int64_t value = 0;
      is_number = absl::SimpleAtoi(text, &value);
      if (is_number && !is_outside(static_cast<double>(value)) && value == static_cast<int32_t>(value))
        return Store(field, message, static_cast<int32_t>(value), &Reflection::SetInt32, &Reflection::AddInt32);
      break;
    }
  }
  AddError(path, is_number ? absl::StrCat(text, " is out of range; accepted: ", Accepted(field))
                           : absl::StrCat("\"", text, "\" is not ", Accepted(field)));
}

void YamlReader::FillDefaults(Message& message) {
  const Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.real_containing_oneof() != nullptr) continue;
    if (RuleOf(field).has_default_value()) {
      ReadField(YAML::Load(RuleOf(field).default_value()), field, absl::StrCat("default of ", field.full_name()),
                message);
    } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field.is_repeated()) {
      FillDefaults(*message.GetReflection()->MutableMessage(&message, &field));
    }
  }
}

void YamlReader::ChooseSections(Message& message) {
  const Descriptor& type = *message.GetDescriptor();
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < type.real_oneof_decl_count(); ++i) {
    const OneofDescriptor& choice = *type.oneof_decl(i);  // the real ones come first
    if (!reflection.HasOneof(message, &choice)) Choose(*choice.field(0), message);
  }
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field.is_repeated() &&
        field.real_containing_oneof() == nullptr)
      ChooseSections(*reflection.MutableMessage(&message, &field));
  }
}

void YamlReader::ReadOverride(absl::string_view assignment, Message& root) {
  root_ = root.GetDescriptor();
  override_ = std::string(assignment);
  const absl::Cleanup back_to_the_file = [this] { override_.clear(); };
  if (!absl::StrContains(assignment, '='))
    return AddError("", "has no value; write PATH=VALUE, e.g. optimizer.learning_rate=1e-4");
  const std::pair<std::string, std::string> parts = absl::StrSplit(assignment, absl::MaxSplits('=', 1));
  try {
    Assign(absl::StrSplit(parts.first, '.'), parts.second, root);
  } catch (const YAML::Exception& error) {
    AddError(parts.first, absl::StrCat("the value is not YAML: ", error.msg));
  }
}

void YamlReader::Assign(const std::vector<std::string>& steps, const std::string& value, Message& root) {
  Message* message = &root;
  std::string path;
  for (size_t i = 0; i < steps.size(); ++i) {
    const Reflection& reflection = *message->GetReflection();
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(steps[i]);
    path = Join(path, steps[i]);
    if (field == nullptr) return UnknownField(steps[i], path, *message->GetDescriptor());
    const bool is_section = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (i + 1 == steps.size()) {
      Remember(path, YAML::Mark::null_mark());
      // Text is taken as it stands: it may hold what YAML would read as structure.
      const bool is_text = field->cpp_type() == FieldDescriptor::CPPTYPE_STRING && !field->is_repeated();
      if (!RuleOf(*field).moved_to().empty()) return ReadMoved(YAML::Load(value), *field, path, *message);
      return ReadField(is_text ? YAML::Node(value) : YAML::Load(value), *field, path, *message);
    }
    if (!field->is_repeated()) {
      if (!is_section) return AddError(path, absl::StrCat("is no section; accepted: ", Accepted(*field)));
      message = Choose(*field, *message);
      continue;
    }
    path = Join(path, steps[++i]);
    if (field->is_map()) {
      if (i + 1 < steps.size()) return AddError(path, "is no section");
      Remember(path, YAML::Mark::null_mark());
      return SetMapEntry(*field, steps[i], value, *message);
    }
    const int size = reflection.FieldSize(*message, field);
    int index = -1;
    if (!absl::SimpleAtoi(steps[i], &index) || index < 0 || index > size)
      return AddError(path, absl::StrCat("the list has ", size, " elements, counted from 0; ", size, " adds one"));
    const bool is_last = i + 1 == steps.size();
    if (is_last) Remember(path, YAML::Mark::null_mark());
    if (is_section) {
      if (index == size) FillDefaults(*reflection.AddMessage(message, field));
      message = reflection.MutableRepeatedMessage(message, field, index);
      if (is_last) return ReadMessage(YAML::Load(value), path, *message);
      continue;
    }
    if (!is_last) return AddError(path, absl::StrCat("holds no fields; accepted: ", Accepted(*field)));
    ReadValue(YAML::Load(value), *field, path, *message);
    if (index < size && reflection.FieldSize(*message, field) > size) {
      reflection.SwapElements(message, field, index, size);
      reflection.RemoveLast(message, field);
    }
    return;
  }
}

}  // namespace flowawr
