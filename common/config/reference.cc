#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/config/resume_fields.h"
#include "common/config/run_config.h"
#include "common/config/schema.h"

namespace flowawr {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

constexpr absl::string_view kIntroduction = R"(# Configuration

A run is described by one YAML file: `flowawr run configs/tiny-ocr.yaml`. What is left out keeps its default;
`--set` changes single values from the command line and may be repeated:

```
flowawr run configs/tiny-ocr.yaml --set train.updates=60 --set rewards.terms.0.weight=2
```

The path is the sections' names and the field's, joined by dots; elements of a list are counted from 0, and the number
one past the end adds one. Unknown fields, wrong types, values out of range and fields written twice are errors that
name the line and what is accepted. Sections that exclude each other, as those of `algorithm`, choose by being written:
`--set algorithm.diffusion_nft={}` or `--set algorithm.diffusion_nft.beta=0.1` chooses another one than the file, the
last on the command line holds, and options of one that is not chosen are an error. The complete configuration of a run, defaults included, is kept in its directory as
`config.yaml`.

This page is made from `proto/flowawr/v1/config.proto`; `flowawr-config-reference > docs/configuration.md` makes it
again.
)";

std::string DefaultOf(const FieldDescriptor& field) {
  const v1::FieldRule& rule = RuleOf(field);
  if (rule.has_default_value()) {
    if (field.is_repeated()) return absl::StrReplaceAll(rule.default_value(), {{"[", "`"}, {"]", "`"}, {", ", "`, `"}});
    const std::string text = field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM
                                 ? EnumValueName(*field.enum_type()->FindValueByName(rule.default_value()))
                                 : rule.default_value();
    return absl::StrCat("`", text, "`");
  }
  if (rule.required()) return "**required**";
  if (field.is_map()) return "empty";
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return "empty";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "`false`";
    case FieldDescriptor::CPPTYPE_ENUM:
      return "left out";
    default:
      return "`0`";
  }
}

std::string AcceptedCell(const FieldDescriptor& field) {
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_ENUM) return Accepted(field);
  return absl::StrCat("`", absl::StrJoin(EnumValueNames(*field.enum_type()), "`, `"), "`");
}

void AppendTable(const Descriptor& type, std::string& out) {
  absl::StrAppend(&out, "\n| field | default | accepted | meaning |\n|---|---|---|---|\n");
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field.is_map()) continue;
    if (!RuleOf(field).moved_to().empty()) continue;
    absl::StrAppend(&out, "| `", field.name(), "` | ", DefaultOf(field), " | ", AcceptedCell(field), " | ",
                    absl::StrReplaceAll(RuleOf(field).help(), {{"|", "\\|"}}), " |\n");
  }
}

// The sections below `type`, each with its fields; lists of sections are headed `name.N`.
void AppendSections(const Descriptor& type, const std::string& prefix, std::string& out) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field.is_map()) continue;
    const std::string path = absl::StrCat(prefix, field.name(), field.is_repeated() ? ".N" : "");
    absl::StrAppend(&out, "\n## ", path, "\n");
    if (const google::protobuf::OneofDescriptor* choice = field.real_containing_oneof())
      absl::StrAppend(&out, "\n", field.message_type()->options().GetExtension(v1::algorithm).help(),
                      ". Excludes the other sections of its kind", choice->field(0) == &field ? "; chosen when none is written" : "",
                      ".\n");
    if (field.is_repeated())
      absl::StrAppend(&out, "\nA list", RuleOf(field).required() ? ", not empty" : "", ": ", RuleOf(field).help(),
                      ".\n");
    AppendTable(*field.message_type(), out);
    AppendSections(*field.message_type(), path + ".", out);
  }
}

void AppendResume(std::string& out) {
  absl::StrAppend(&out, "\n## Resuming a run\n\nA run is resumed with the configuration that it began with; another one is "
                        "refused, and the error lists what differs. These may differ:\n\n");
  for (const ResumeField& field : FieldsFreeOnResume())
    absl::StrAppend(&out, "- `", field.path, "`", field.why.empty() ? "" : ": ", field.why, "\n");
  absl::StrAppend(&out, "\nPaths among a scorer's options may differ in their folders, not in their last name.\n");
}

}  // namespace

std::string RunConfigReference() {
  std::string out(kIntroduction);
  const Descriptor& type = *v1::RunConfig::descriptor();
  absl::StrAppend(&out, "\n## The run\n");
  AppendTable(type, out);
  AppendSections(type, "", out);
  AppendResume(out);
  return out;
}

}  // namespace flowawr
