#include "cli/prompt_findings.h"

#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/sd3/component_loader.h"
#include "common/sd3/text_encoders.h"

namespace flowawr {
namespace {

constexpr size_t kMostPromptBytes = 100;  // of a prompt that is shown

}  // namespace

std::vector<std::string> DescribeRepeatedPrompts(const std::vector<NamedPrompts>& files) {
  std::vector<std::string> sentences;
  absl::flat_hash_map<std::string, size_t> first;  // which file had it first
  for (size_t file = 0; file < files.size(); ++file) {
    size_t twice = 0, shared = 0;
    std::string example;
    const PromptSet& prompts = *files[file].prompts;
    for (size_t i = 0; i < prompts.size(); ++i) {
      std::string text = prompts.At(i).text();
      const auto [it, is_new] = first.try_emplace(text, file);
      twice += !is_new && it->second == file;
      if (is_new || it->second == file) continue;
      if (shared++ == 0)
        example = absl::StrCat(prompts.Where(i), ": \"", TruncateUtf8(text, kMostPromptBytes), "\"");
    }
    if (twice > 0)
      sentences.push_back(absl::StrCat(twice, " prompts of ", files[file].file, " are repeated there; each counts"));
    if (shared > 0)
      sentences.push_back(absl::StrCat(shared, " prompts of ", files[file].file,
                                       " are in another of the files too, so that they are not held out: e.g. ",
                                       example));
  }
  return sentences;
}

absl::StatusOr<CutPrompts> FindCutPrompts(const std::string& model, int max_sequence_length,
                                          const std::vector<NamedPrompts>& files, size_t most) {
  const TextEncoders::Options options{.max_sequence_length = max_sequence_length};
  FLOWAWR_RETURN_IF_ERROR(options.Check());
  FLOWAWR_ASSIGN_OR_RETURN(ComponentLoader loader, ComponentLoader::Open(model, nullptr));
  const std::unique_ptr<TextEncoders> encoders = TextEncoders::LoadSmallFiles(options, loader);
  FLOWAWR_RETURN_IF_ERROR(loader.Finish());
  CutPrompts cut;
  for (const NamedPrompts& file : files) {
    for (size_t i = 0; i < file.prompts->size(); ++i) {
      for (const std::string& line : encoders->DescribeCut(file.prompts->At(i).text()))
        if (++cut.count <= most) cut.sentences.push_back(absl::StrCat(file.prompts->Where(i), ": ", line));
    }
  }
  return cut;
}

}  // namespace flowawr
