// The pictures of a folder, and what each of them was to show.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/config/prompts.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

// Names of *.png, *.jpg and *.jpeg files, from `folder` on, in order; in the folders below it too, but not through
// links to folders, and not in `left_out` (empty: none); without the grids that `flowawr sample` writes. NotFound when
// there is no such folder or no picture in it.
absl::StatusOr<std::vector<std::string>> ListPictures(const std::string& folder, const std::string& left_out);

// Prompts come from the first of:
//   one prompt for all
//   a prompt set whose prompts name their pictures, by a field file_name, file, filename, image or path: from the
//     folder on, or the last part of the name alone where only one prompt has it
//   the picture's own PNG text "prompt", which `flowawr sample` writes; a prompt set that names no pictures tells its
//     metadata, by the text
// Without a prompt set, metadata.jsonl files in the folder and below it are one for what is beside and below them, with
// names from there on; one with a single prompt that names no picture is of them all, as GenEval lays its pictures out.
// Immutable; Of() is thread-safe.
class PicturePrompts {
 public:
  // `names` as of ListPictures(). Errors as of PromptSet::Load().
  static absl::StatusOr<PicturePrompts> Make(const std::string& prompt, const std::string& prompts_file,
                                             const std::string& folder, const std::vector<std::string>& names);

  // The prompt of the picture `name` whose file holds `bytes`. NotFound, with what to do, when there is none.
  absl::StatusOr<v1::Prompt> Of(const std::string& name, absl::string_view bytes) const;

  // Pictures that the prompt sets name and that are not there.
  const std::vector<std::string>& missing() const { return missing_; }

 private:
  // A prompt set by what its prompts are found with: positions in it.
  struct Index {
    PromptSet prompts;
    std::string base;  // where its names start, with "/" behind; empty: at the folder
    std::map<std::string, size_t> by_name, by_last_part, by_text;
    bool is_of_all = false;
  };

  static absl::StatusOr<Index> Read(const std::string& file, const std::string& base);
  const Index* IndexOf(const std::string& name) const;
  void FindMissing(const std::vector<std::string>& names);

  v1::Prompt one_;  // for all, if it has a text
  std::map<std::string, Index> indices_;  // by base
  std::vector<std::string> missing_;
};

}  // namespace flowawr
