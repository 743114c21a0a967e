#include "common/clip/shared_clip.h"

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/sha256.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

// 4 kB each where embeddings have 1024 values.
constexpr size_t kMostImages = 1024;
constexpr size_t kMostTexts = 1024;

// What tells a folder and its files from any other: where it is, and each file's name, size and time.
std::string IdentityOf(const std::string& folder, Placement placement) {
  std::error_code ignored;  // ClipModel::Load() complains of what cannot be read
  const std::filesystem::path path = std::filesystem::weakly_canonical(folder, ignored);
  std::set<std::string> files;
  for (auto file = std::filesystem::directory_iterator(path, ignored); file != std::filesystem::directory_iterator();
       file.increment(ignored)) {
    const std::string name = file->path().filename().string();
    if (!absl::EndsWith(name, ".safetensors") && !absl::EndsWith(name, ".json")) continue;
    files.insert(absl::StrCat(name, " ", file->file_size(ignored), " ",
                              file->last_write_time(ignored).time_since_epoch().count()));
  }
  std::string identity = absl::StrCat(path.string(), "\n", c10::toString(placement.dtype), " ", placement.device.str(), "\n");
  for (const std::string& file : files) absl::StrAppend(&identity, file, "\n");
  return identity;
}

// The models of the process by identity. Never destroyed: scorers may outlive main().
struct Models {
  absl::Mutex mutex;
  absl::CondVar has_loaded;  // some load has ended, well or not
  std::map<std::string, std::weak_ptr<SharedClip>> by_identity ABSL_GUARDED_BY(mutex);
  std::set<std::string> loading ABSL_GUARDED_BY(mutex);
};

Models& AllModels() {
  static auto* const models = new Models;
  return *models;
}

// The model that somebody has; null: the caller loads it, and others wait until it calls EndLoading().
std::shared_ptr<SharedClip> FindOrBeginLoading(const std::string& identity) {
  Models& models = AllModels();
  absl::MutexLock lock(&models.mutex);
  while (models.loading.contains(identity)) models.has_loaded.Wait(&models.mutex);
  std::erase_if(models.by_identity, [](const auto& entry) { return entry.second.expired(); });
  const auto found = models.by_identity.find(identity);
  std::shared_ptr<SharedClip> clip = found == models.by_identity.end() ? nullptr : found->second.lock();
  if (clip == nullptr) models.loading.insert(identity);
  return clip;
}

void EndLoading(const std::string& identity, const std::shared_ptr<SharedClip>& clip) {
  Models& models = AllModels();
  absl::MutexLock lock(&models.mutex);
  if (clip != nullptr) models.by_identity[identity] = clip;
  models.loading.erase(identity);
  models.has_loaded.SignalAll();
}

absl::string_view BytesOf(const at::Tensor& contiguous) {
  return {static_cast<const char*>(contiguous.const_data_ptr()), contiguous.nbytes()};
}

// Of what is embedded in batches of that size.
std::string KeyOf(absl::string_view item, int batch) { return absl::StrCat(batch, " ", item); }

}  // namespace

SharedClip::SharedClip(std::unique_ptr<const ClipModel> model)
    : model_(std::move(model)), images_(kMostImages), texts_(kMostTexts) {}

absl::StatusOr<std::shared_ptr<SharedClip>> SharedClip::Open(const std::string& folder, Placement placement,
                                                             ReadProgress progress) {
  const std::string identity = IdentityOf(folder, placement);
  std::shared_ptr<SharedClip> clip = FindOrBeginLoading(identity);
  if (clip != nullptr) return clip;
  const absl::Cleanup end_loading = [&] { EndLoading(identity, clip); };
  FLOWAWR_ASSIGN_OR_RETURN(auto model, ClipModel::Load(folder, placement, std::move(progress)));
  clip.reset(new SharedClip(std::move(model)));
  return std::as_const(clip);  // a copy: what ends the loading reads it after that
}

absl::StatusOr<at::Tensor> SharedClip::ImageEmbeds(absl::Span<const at::Tensor> pixels, KeepGoing keep_going,
                                                   int batch) {
  std::vector<std::string> keys;
  for (const at::Tensor& picture : pixels) keys.push_back(KeyOf(Sha256(BytesOf(picture.contiguous())), batch));
  return images_.Get(keys, [&](absl::Span<const size_t> indices) {
    std::vector<at::Tensor> wanted;
    for (const size_t i : indices) wanted.push_back(pixels[i]);
    return model_->ImageEmbeds(wanted, keep_going, batch);
  });
}

absl::StatusOr<at::Tensor> SharedClip::TextEmbeds(absl::Span<const std::string> texts, KeepGoing keep_going,
                                                  int batch) {
  std::vector<std::string> keys;
  for (const std::string& text : texts) keys.push_back(KeyOf(text, batch));
  return texts_.Get(keys, [&](absl::Span<const size_t> indices) {
    std::vector<std::string> wanted;
    for (const size_t i : indices) wanted.push_back(texts[i]);
    return model_->TextEmbeds(wanted, keep_going, batch);
  });
}

}  // namespace flowawr
