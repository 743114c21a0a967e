// Scored pictures to look at: a contact sheet, and a page of HTML that needs no other file.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "cli/score_results.h"
#include "common/tensor/image.h"

namespace flowawr {

// Which of `count` sorted pictures are shown when there is room for `most`: all, or as many of the best as of the
// worst. Positions, ascending. Pure.
std::vector<size_t> ShownPictures(size_t count, size_t most);

// Made smaller by a whole factor until no side is longer than `side`. Pure.
Image Thumbnail(const Image& image, int side);

// A scored picture with its thumbnail.
struct ShownPicture {
  const PictureScore* picture = nullptr;
  Image image;
};

// In reading order, each over its prompt and its reward. Smaller pictures stand in the middle of cells of the largest
// one's size. When not all fit, as many of the first as of the last ones. At least one; errors as of DrawGrid().
absl::StatusOr<Image> DrawScoreSheet(const v1::RewardSpec& spec, const std::vector<ShownPicture>& shown);

struct ScorePageText {
  std::string title;
  std::vector<std::string> versions;  // by term
};

// Everything that the scorers said of `shown`, and figures over `sorted`, of which `shown` may be a part; with several
// scorers, readers can sort by each of them. Errors as of the encoders.
absl::StatusOr<std::string> ScorePage(const v1::RewardSpec& spec, const ScorePageText& text,
                                      const std::vector<PictureScore>& sorted, const std::vector<ShownPicture>& shown);

}  // namespace flowawr
