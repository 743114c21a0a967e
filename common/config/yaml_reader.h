// Reads YAML into a message by its schema, and remembers where every value came from.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "yaml-cpp/yaml.h"

namespace flowawr {

// Collects errors instead of stopping at the first. Not thread-safe; one for each configuration.
class YamlReader {
 public:
  // `source` names the file in errors.
  explicit YamlReader(std::string source) : source_(std::move(source)) {}

  // Fills `message` with its defaults, then with what the text says.
  void ReadText(absl::string_view text, google::protobuf::Message& message);

  // Applies one "path=value" over what `message` holds.
  void ReadOverride(absl::string_view assignment, google::protobuf::Message& message);

  // An error about the field at `path`, located where it or the nearest section around it was written.
  void AddError(const std::string& path, absl::string_view problem);

  // "file:line:column: path: problem" each.
  const std::vector<std::string>& errors() const { return errors_; }

 private:
  void ReadMessage(const YAML::Node& node, const std::string& path, google::protobuf::Message& message);
  // A whole field: a value, a section or a list.
  void ReadField(const YAML::Node& node, const google::protobuf::FieldDescriptor& field, const std::string& path,
                 google::protobuf::Message& message);
  // A map of text to text, e.g. options.
  void ReadMap(const YAML::Node& node, const google::protobuf::FieldDescriptor& field, const std::string& path,
               google::protobuf::Message& message);
  // One value; added when the field is a list.
  void ReadValue(const YAML::Node& node, const google::protobuf::FieldDescriptor& field, const std::string& path,
                 google::protobuf::Message& message);
  void ReadNumber(const std::string& text, const google::protobuf::FieldDescriptor& field, const std::string& path,
                  google::protobuf::Message& message);
  // One override, its path split at the dots.
  void Assign(const std::vector<std::string>& steps, const std::string& value, google::protobuf::Message& root);
  // The section `field` of `message`, with its defaults where it is only just chosen among others.
  google::protobuf::Message* Choose(const google::protobuf::FieldDescriptor& field, google::protobuf::Message& message);
  // A field that another one has taken over: its value goes there.
  void ReadMoved(const YAML::Node& node, const google::protobuf::FieldDescriptor& field, const std::string& path,
                 google::protobuf::Message& message);
  // Defaults of all fields; of sections that exclude each other, none is chosen.
  void FillDefaults(google::protobuf::Message& message);
  // Where none of several sections that exclude each other is written, the first is chosen.
  void ChooseSections(google::protobuf::Message& message);
  void UnknownField(const std::string& name, const std::string& path, const google::protobuf::Descriptor& type);
  // What `path` was read from, e.g. "run.yaml:3:5".
  void Remember(const std::string& path, const YAML::Mark& mark);

  const std::string source_;
  std::string override_;  // the --set under way; empty: the file
  const google::protobuf::Descriptor* root_ = nullptr;
  std::map<std::string, std::string> places_;  // by path
  std::vector<std::string> errors_;
};

}  // namespace flowawr
