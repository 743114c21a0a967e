// From Mask2Former's queries to the objects of a picture, as mmdet does it (MaskFormerFusionHead.instance_postprocess).
//
// Of all pairs of query and class the 100 most probable are objects (one query may be several). An object's mask is
// where the query's logit, resized bilinearly to the padded input, cut to the picture therein, and resized to the
// picture's own size, is positive; its score is the class's probability times the mean probability of its mask; its box
// is the mask's.
//
// transformers' post_process_instance_segmentation differs: it cuts masks at 384 x 384 and resizes them to the nearest
// pixel.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

#include "reward_server/detection/detection_preprocess.h"

namespace flowawr {

struct Instance {
  int64_t label = 0;
  double score = 0;
  std::array<float, 4> box = {};  // left, top, right, bottom in pixels; right and bottom are one behind the last
  at::Tensor mask;                // [height, width] bool
};

struct InstanceOptions {
  int64_t most = 100;    // pairs of query and class
  double min_score = 0;  // objects must have more
};

// Of one picture of height x width: `class_logits` [queries, classes + 1] and `mask_logits` [queries, h, w] are
// Mask2Former's for `pixels`. By descending score, equal ones in the order of query and class. Objects without a pixel
// have none.
std::vector<Instance> FindInstances(const at::Tensor& class_logits, const at::Tensor& mask_logits,
                                    const DetectionPixels& pixels, int64_t height, int64_t width,
                                    const InstanceOptions& options);

}  // namespace flowawr
