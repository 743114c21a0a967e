#include "reward_server/request_bounds.h"

#include <cstddef>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

constexpr int kMaxItems = 4096;
constexpr size_t kMaxTextBytes = 64 << 10;  // of a prompt, and of its metadata

}  // namespace

absl::Status CheckCount(int count, absl::string_view what) {
  if (count > 0 && count <= kMaxItems) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a request holds 1 to ", kMaxItems, " ", what, ", not ", count));
}

std::string WhatIsWrongWith(const v1::ScoreItem& item, uint32_t max_side) {
  const uint64_t height = item.height(), width = item.width();
  if (height == 0 || width == 0)
    return absl::StrCat("the image is ", height, " x ", width, " pixels: nothing to score");
  if (height > max_side || width > max_side)
    return absl::StrCat("the image is ", height, " x ", width, " pixels; at most ", max_side,
                        " a side are accepted (--max-image-side of the reward server)");
  if (item.image_rgb().size() != height * width * 3)
    return absl::StrCat("the image has ", item.image_rgb().size(), " bytes, but ", height, " x ", width,
                        " pixels of RGB take ", height * width * 3);
  size_t metadata_bytes = 0;
  for (const auto& [key, value] : item.metadata()) metadata_bytes += key.size() + value.size();
  if (item.prompt().size() > kMaxTextBytes || metadata_bytes > kMaxTextBytes)
    return absl::StrCat("the prompt has ", item.prompt().size(), " bytes and its metadata ", metadata_bytes,
                        "; at most ", kMaxTextBytes, " each are accepted");
  return "";
}

}  // namespace flowawr
