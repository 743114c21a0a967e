#include "common/sd3/model_fingerprint.h"

#include <torch/types.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/sha256.h"
#include "common/base/usable_cores.h"
#include "common/tensor/safetensors.h"

namespace flowawr {
namespace {

constexpr int64_t kChunkBytes = int64_t{4} << 20;

struct Chunk {
  at::Tensor bytes;  // [n] uint8
  bool is_needed;    // a model computes with it, so its pages stay
  std::string digest;
};

void HashAll(std::vector<Chunk>& chunks) {
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i; (i = next.fetch_add(1)) < chunks.size();) {
      const at::Tensor& bytes = chunks[i].bytes;
      chunks[i].digest = Sha256({static_cast<const char*>(bytes.const_data_ptr()), bytes.nbytes()});
      if (!chunks[i].is_needed) DropPages(bytes);
    }
  };
  std::vector<std::thread> others;
  const size_t threads = std::min<size_t>(chunks.size(), UsableCoresHere().count);
  for (size_t i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& thread : others) thread.join();
}

}  // namespace

ModelFingerprint::ModelFingerprint(std::string config, std::map<std::string, at::Tensor> tensors)
    : config_(std::move(config)), tensors_(std::move(tensors)) {}

const std::string& ModelFingerprint::Hex() const {
  absl::call_once(once_, [this] {
    const at::NoGradGuard no_grad;
    std::vector<Chunk> chunks;
    for (auto& [name, tensor] : tensors_) {
      const bool is_needed = tensor.use_count() > 1 || tensor.storage().use_count() > 1;
      tensor = tensor.contiguous();
      if (tensor.numel() == 0) continue;
      for (const at::Tensor& bytes : tensor.view({-1}).view(at::kByte).split(kChunkBytes))
        chunks.push_back({bytes, is_needed, {}});
    }
    HashAll(chunks);
    Sha256Hasher hasher;
    hasher.Update(config_);
    size_t chunk = 0;
    for (const auto& [name, tensor] : tensors_) {
      hasher.Update(absl::StrCat("\n", name, " ", c10::toString(tensor.scalar_type()), " [",
                                 absl::StrJoin(tensor.sizes(), ","), "]\n"));
      const auto bytes = static_cast<int64_t>(tensor.nbytes());
      for (int64_t at = 0; at < bytes; at += kChunkBytes) hasher.Update(chunks[chunk++].digest);
    }
    hex_ = absl::BytesToHexString(hasher.Finish());
    tensors_.clear();
  });
  return hex_;
}

}  // namespace flowawr
