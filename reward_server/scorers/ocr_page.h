// Prepares a picture for text recognition: grey, large enough, with white around it. Pure and thread-safe.
#pragma once

#include "flowawr/v1/reward.pb.h"
#include "reward_server/scorers/gray_page.h"

namespace flowawr {

struct PageOptions {
  int min_height = 64;  // lower pictures are enlarged by the smallest whole factor that reaches it
  int max_scale = 4;
  int margin = 20;  // white pixels on every side, after enlarging: Tesseract expects room around a line
};

// ITU-R 601 luma, enlarged bicubically (a = -1/2, as PIL).
GrayPage MakePage(const v1::ScoreItem& item, const PageOptions& options);

}  // namespace flowawr
