#include "cli/picture_prompts.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/process/exit_code.h"
#include "common/tensor/image.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostPictures = 200'000;
constexpr size_t kMostDepth = 16;  // of folders
constexpr size_t kMostGridBytes = size_t{1} << 28;
constexpr size_t kMostPromptBytes = 8 << 10;
constexpr const char* kNameFields[] = {"file_name", "file", "filename", "image", "path"};
constexpr char kMetadataFile[] = "metadata.jsonl";

bool IsPicture(const fs::path& path) {
  const std::string extension = absl::AsciiStrToLower(path.extension().string());
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

using PngText = std::map<std::string, std::string>;

// Of all pictures in one that `flowawr sample` drew at a time.
bool IsOfGrid(const PngText& text) { return text.contains("prompts") && !text.contains("prompt"); }

// That picture, where it is written beside the others.
bool IsGrid(const fs::path& path) {
  if (path.filename() != "grid.png") return false;
  const absl::StatusOr<std::string> bytes = ReadFile(path.string(), kMostGridBytes);
  if (!bytes.ok()) return false;
  const absl::StatusOr<PngText> text = ReadPngText(*bytes);
  return text.ok() && IsOfGrid(*text);
}

// Takes the picture's name out of what becomes metadata.
std::optional<std::string> TakeName(v1::Prompt& prompt) {
  for (const char* field : kNameFields) {
    const auto it = prompt.mutable_metadata()->find(field);
    if (it == prompt.mutable_metadata()->end()) continue;
    std::string name = fs::path(it->second).lexically_normal().generic_string();
    prompt.mutable_metadata()->erase(it);
    return name;
  }
  return std::nullopt;
}

std::string LastPart(const std::string& name) { return fs::path(name).filename().string(); }

// "a/b/c.png" -> "a/b/", "c.png" -> "".
std::string FolderOf(const std::string& name) { return name.substr(0, name.rfind('/') + 1); }

}  // namespace

absl::StatusOr<std::vector<std::string>> ListPictures(const std::string& folder, const std::string& left_out) {
  std::error_code error;
  const fs::path root = folder;
  if (!fs::is_directory(root, error))
    return absl::NotFoundError(absl::StrCat(folder, fs::exists(root, error) ? " is no folder" : " does not exist",
                                            "; name a folder with PNG or JPEG files"));
  std::vector<std::string> names;
  fs::recursive_directory_iterator it(root, fs::directory_options::skip_permission_denied, error);
  for (const fs::recursive_directory_iterator end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    const bool is_folder = it->is_directory(ignored);
    if (is_folder && (it.depth() >= static_cast<int>(kMostDepth) ||
                      (!left_out.empty() && fs::equivalent(it->path(), left_out, ignored)))) {
      it.disable_recursion_pending();
    } else if (!is_folder && IsPicture(it->path()) && !IsGrid(it->path())) {
      names.push_back(it->path().lexically_relative(root).generic_string());
      if (names.size() > kMostPictures)
        return absl::InvalidArgumentError(absl::StrCat(folder, ": more than ", kMostPictures, " pictures"));
    }
  }
  if (error) return absl::InternalError(absl::StrCat(folder, " cannot be read: ", error.message()));
  if (names.empty())
    return absl::NotFoundError(absl::StrCat(folder, " holds no picture: no *.png, *.jpg or *.jpeg file"));
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<PicturePrompts::Index> PicturePrompts::Read(const std::string& file, const std::string& base) {
  Index index{.base = base};
  FLOWAWR_ASSIGN_OR_RETURN(index.prompts, PromptSet::Load(file));
  std::set<std::string> ambiguous;
  for (size_t i = 0; i < index.prompts.size(); ++i) {
    v1::Prompt prompt = index.prompts.At(i);
    const std::optional<std::string> name = TakeName(prompt);
    if (!name.has_value()) {
      index.by_text.emplace(prompt.text(), i);
      continue;
    }
    if (!index.by_name.emplace(*name, i).second)
      return absl::InvalidArgumentError(absl::StrCat(index.prompts.Where(i), ": the picture ", SanitizeUtf8(*name),
                                                     " has a prompt already; take one of the two away"));
    if (!index.by_last_part.emplace(LastPart(*name), i).second) ambiguous.insert(LastPart(*name));
  }
  for (const std::string& name : ambiguous) index.by_last_part.erase(name);
  index.is_of_all = index.prompts.size() == 1 && index.by_name.empty() && !base.empty();
  return index;
}

absl::StatusOr<PicturePrompts> PicturePrompts::Make(const std::string& prompt, const std::string& prompts_file,
                                                    const std::string& folder, const std::vector<std::string>& names) {
  PicturePrompts found;
  found.one_.set_text(std::string(absl::StripAsciiWhitespace(prompt)));
  if (!prompt.empty()) {
    if (found.one_.text().empty()) return UsageError("--prompt is empty");
    if (!IsValidUtf8(prompt)) return UsageError("--prompt is not UTF-8");
    return found;
  }
  if (!prompts_file.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(found.indices_[""], Read(prompts_file, ""));
  } else {
    std::set<std::string> bases;  // every folder that a picture lies in or below
    for (const std::string& name : names)
      for (std::string base = FolderOf(name); bases.insert(base).second && !base.empty();)
        base = FolderOf(base.substr(0, base.size() - 1));
    for (const std::string& base : bases) {
      const std::string file = absl::StrCat(folder, "/", base, kMetadataFile);
      std::error_code ignored;
      if (!fs::is_regular_file(file, ignored)) continue;
      FLOWAWR_ASSIGN_OR_RETURN(Index index, Read(file, base));
      if (base.empty()) index.is_of_all = index.prompts.size() == 1 && index.by_name.empty();
      found.indices_.emplace(base, std::move(index));
    }
  }
  found.FindMissing(names);
  return found;
}

void PicturePrompts::FindMissing(const std::vector<std::string>& names) {
  const std::set<std::string> there(names.begin(), names.end());
  std::set<std::string> last_parts;
  for (const std::string& name : names) last_parts.insert(LastPart(name));
  for (const auto& [base, index] : indices_)
    for (const auto& [name, prompt] : index.by_name)
      if (!there.contains(base + name) && !last_parts.contains(LastPart(name))) missing_.push_back(base + name);
}

const PicturePrompts::Index* PicturePrompts::IndexOf(const std::string& name) const {
  for (std::string base = FolderOf(name);; base = FolderOf(base.substr(0, base.size() - 1))) {
    if (const auto it = indices_.find(base); it != indices_.end()) return &it->second;
    if (base.empty()) return nullptr;
  }
}

absl::StatusOr<v1::Prompt> PicturePrompts::Of(const std::string& name, absl::string_view bytes) const {
  if (!one_.text().empty()) return one_;
  const Index* index = IndexOf(name);
  const auto take = [&](size_t i) {
    v1::Prompt prompt = index->prompts.At(i);
    (void)TakeName(prompt);
    return prompt;
  };
  if (index != nullptr) {
    if (index->is_of_all) return take(0);
    if (const auto it = index->by_name.find(name.substr(index->base.size())); it != index->by_name.end())
      return take(it->second);
    if (const auto it = index->by_last_part.find(LastPart(name)); it != index->by_last_part.end())
      return take(it->second);
  }
  const absl::StatusOr<PngText> text = ReadPngText(bytes);
  if (text.ok()) {
    const auto own = text->find("prompt");
    if (IsOfGrid(*text))
      return absl::NotFoundError("a grid of several prompts' pictures; score those by themselves");
    if (own != text->end() && absl::StartsWith(absl::StripLeadingAsciiWhitespace(own->second), "{"))
      return absl::NotFoundError("its text \"prompt\" is JSON of another program; give --prompts FILE.jsonl");
    if (own != text->end() && !own->second.empty() && own->second.size() <= kMostPromptBytes) {
      if (index != nullptr)
        if (const auto it = index->by_text.find(own->second); it != index->by_text.end()) return take(it->second);
      v1::Prompt prompt;
      prompt.set_text(own->second);
      return prompt;
    }
  }
  return absl::NotFoundError(
      index != nullptr
          ? "no prompt: the prompt file does not name it, and it has no text \"prompt\" of its own"
          : "no prompt: no text \"prompt\" in it; give --prompts FILE with file_name and prompt, or --prompt TEXT");
}

}  // namespace flowawr
