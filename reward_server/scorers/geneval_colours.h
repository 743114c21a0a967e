// The colours of detected objects, as GenEval tells them apart.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/keep_going.h"
#include "common/tensor/image.h"
#include "reward_server/detection/instances.h"

namespace flowawr {

// Thread-safe.
class GenevalColours {
 public:
  virtual ~GenevalColours() = default;

  // One of kGenevalColours for each object; all are of the class that prompts call `name`. Their masks have the size of
  // the picture, and a pixel at least. `keep_going` is asked while a model runs; its error is returned.
  virtual absl::StatusOr<std::vector<std::string>> Classify(const Image& image, const std::string& name,
                                                            absl::Span<const Instance> objects,
                                                            KeepGoing keep_going) = 0;

  virtual std::string version() const = 0;         // "clip ViT-L-14" or "pixels"
  virtual std::string weights_sha256() const = 0;  // empty: it has none
  virtual size_t memory_bytes() const = 0;         // of its weights
};

// GenEval's: each object on #999 (153 of 255 grey) through its mask, cut to its box, and named by a CLIP: for every
// colour the mean of three normalised sentences, "a photo of a {colour} {name}", "a photo of a {colour}-colored {name}"
// and "a photo of a {colour} object", normalised again; the nearest to the picture by cosine. GenEval's own CLIP is
// OpenAI's ViT-L/14. `folder` as ClipModel::Load() takes it; its weights are shared with scorers that have the same.
absl::StatusOr<std::unique_ptr<GenevalColours>> LoadClipColours(const std::string& folder, at::Device device);

// For flat drawings, where no CLIP is needed: of the ten colours the one whose typical value is nearest to the mean of
// the object's pixels, by the distance in RGB. Photographs have shades that this rule does not know: their figures do
// not compare with GenEval's.
std::unique_ptr<GenevalColours> MakePixelColours();

// The object as a CLIP sees it.
Image ObjectOnGrey(const Image& image, const Instance& object);

}  // namespace flowawr
