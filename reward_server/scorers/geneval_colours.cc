#include "reward_server/scorers/geneval_colours.h"

#include <torch/types.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/last_name.h"
#include "common/base/status.h"
#include "common/clip/clip_preprocess.h"
#include "common/clip/shared_clip.h"
#include "reward_server/scorers/geneval_task.h"

namespace flowawr {
namespace {

constexpr char kGrey = static_cast<char>(0x99);
constexpr size_t kChannels = 3;

// Of a very long picture, what the cut of its middle square sees and more: a CLIP's preprocessing takes no strips.
Image Middle(Image image) {
  constexpr int kLongest = 32;  // in shorter sides
  const int height = std::min(image.height, kLongest * image.width);
  const int width = std::min(image.width, kLongest * image.height);
  if (height == image.height && width == image.width) return image;
  Image middle{height, width, ""};
  const int top = (image.height - height) / 2, left = (image.width - width) / 2;
  for (int y = top; y < top + height; ++y)
    middle.rgb.append(image.rgb, (static_cast<size_t>(y) * image.width + left) * kChannels, width * kChannels);
  return middle;
}

class ClipColours : public GenevalColours {
 public:
  ClipColours(std::shared_ptr<SharedClip> clip, std::string name) : clip_(std::move(clip)), name_(std::move(name)) {}

  absl::StatusOr<std::vector<std::string>> Classify(const Image& image, const std::string& name,
                                                    absl::Span<const Instance> objects,
                                                    KeepGoing keep_going) override {
    const at::NoGradGuard no_grad;
    FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor colours, ColourEmbeds(name, keep_going));
    std::vector<at::Tensor> crops;
    for (const Instance& object : objects) {
      FLOWAWR_ASSIGN_OR_RETURN(at::Tensor pixels,
                               ClipPixels(Middle(ObjectOnGrey(image, object)), ClipPreprocess::kOpenClip,
                                          clip_->model().image_size()));
      crops.push_back(std::move(pixels));
    }
    FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor embeds, clip_->ImageEmbeds(crops, keep_going));
    const at::Tensor nearest = Normalised(embeds).mm(colours.t()).argmax(1);
    std::vector<std::string> found;
    for (size_t i = 0; i < objects.size(); ++i)
      found.push_back(kGenevalColours[static_cast<size_t>(nearest[static_cast<int64_t>(i)].item<int64_t>())]);
    return found;
  }

  std::string version() const override { return absl::StrCat("clip ", name_); }
  std::string weights_sha256() const override { return clip_->model().weights_sha256(); }
  size_t memory_bytes() const override { return clip_->model().memory_bytes(); }

 private:
  // [10, dim], one a colour. Kept: there are as many names as the detector has classes, and their aliases.
  absl::StatusOr<at::Tensor> ColourEmbeds(const std::string& name, KeepGoing keep_going) {
    {
      absl::MutexLock lock(&mutex_);
      if (const auto known = embeds_.find(name); known != embeds_.end()) return known->second;
    }
    std::vector<std::string> texts;
    for (const char* colour : kGenevalColours) {
      texts.push_back(absl::StrCat("a photo of a ", colour, " ", name));
      texts.push_back(absl::StrCat("a photo of a ", colour, "-colored ", name));
      texts.push_back(absl::StrCat("a photo of a ", colour, " object"));
    }
    FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor sentences, clip_->TextEmbeds(texts, keep_going));
    const at::Tensor colours =
        Normalised(Normalised(sentences).view({static_cast<int64_t>(kGenevalColours.size()), 3, -1}).mean(1));
    absl::MutexLock lock(&mutex_);
    return embeds_.try_emplace(name, colours).first->second;
  }

  const std::shared_ptr<SharedClip> clip_;
  const std::string name_;
  absl::Mutex mutex_;
  std::map<std::string, at::Tensor> embeds_ ABSL_GUARDED_BY(mutex_);
};

class PixelColours : public GenevalColours {
 public:
  absl::StatusOr<std::vector<std::string>> Classify(const Image& image, const std::string& /*name*/,
                                                    absl::Span<const Instance> objects,
                                                    KeepGoing /*keep_going*/) override {
    std::vector<std::string> found;
    for (const Instance& object : objects) found.push_back(Nearest(MeanOf(image, object)));
    return found;
  }

  std::string version() const override { return "pixels"; }
  std::string weights_sha256() const override { return ""; }
  size_t memory_bytes() const override { return 0; }

 private:
  using Rgb = std::array<double, kChannels>;

  static Rgb MeanOf(const Image& image, const Instance& object) {
    const at::Tensor mask = object.mask.contiguous();
    const bool* is_object = mask.const_data_ptr<bool>();
    Rgb sum = {};
    double count = 0;
    for (int64_t i = 0; i < mask.numel(); ++i) {
      if (!is_object[i]) continue;
      ++count;
      const char* pixel = &image.rgb[static_cast<size_t>(i) * kChannels];
      for (size_t c = 0; c < kChannels; ++c) sum[c] += static_cast<uint8_t>(pixel[c]);
    }
    for (double& channel : sum) channel /= count;
    return sum;
  }

  static std::string Nearest(const Rgb& colour) {
    // In the order of kGenevalColours.
    static constexpr std::array<Rgb, kGenevalColours.size()> kTypical = {{{218, 36, 36},
                                                                          {246, 136, 24},
                                                                          {246, 218, 36},
                                                                          {36, 160, 66},
                                                                          {44, 88, 222},
                                                                          {142, 54, 186},
                                                                          {250, 150, 196},
                                                                          {126, 76, 36},
                                                                          {20, 20, 20},
                                                                          {246, 246, 246}}};
    size_t nearest = 0;
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < kTypical.size(); ++i) {
      double distance = 0;
      for (size_t c = 0; c < kChannels; ++c) distance += (colour[c] - kTypical[i][c]) * (colour[c] - kTypical[i][c]);
      if (distance < least) {
        least = distance;
        nearest = i;
      }
    }
    return kGenevalColours[nearest];
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<GenevalColours>> LoadClipColours(const std::string& folder, at::Device device) {
  FLOWAWR_ASSIGN_OR_RETURN(std::shared_ptr<SharedClip> clip, SharedClip::Open(folder, {at::kFloat, device}));
  return std::make_unique<ClipColours>(std::move(clip), LastName(folder));
}

std::unique_ptr<GenevalColours> MakePixelColours() { return std::make_unique<PixelColours>(); }

Image ObjectOnGrey(const Image& image, const Instance& object) {
  const int left = static_cast<int>(object.box[0]), top = static_cast<int>(object.box[1]);
  const int right = static_cast<int>(object.box[2]), bottom = static_cast<int>(object.box[3]);
  Image crop{bottom - top, right - left, ""};
  crop.rgb.assign(static_cast<size_t>(crop.height) * crop.width * kChannels, kGrey);
  const at::Tensor mask = object.mask.contiguous();
  const bool* is_object = mask.const_data_ptr<bool>();
  for (int y = top; y < bottom; ++y) {
    for (int x = left; x < right; ++x) {
      const size_t from = static_cast<size_t>(y) * image.width + x;
      if (!is_object[from]) continue;
      const size_t to = static_cast<size_t>(y - top) * crop.width + (x - left);
      crop.rgb.replace(to * kChannels, kChannels, image.rgb, from * kChannels, kChannels);
    }
  }
  return crop;
}

}  // namespace flowawr
