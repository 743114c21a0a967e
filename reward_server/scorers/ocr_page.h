// Prepares a picture for text recognition: grey, large enough, with white around it. Pure and thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "flowawr/v1/reward.pb.h"

namespace flowawr {

struct GrayPage {
  int height = 0;
  int width = 0;
  std::vector<uint8_t> pixels;  // height * width, rows from the top
};

struct PageOptions {
  int min_height = 64;  // lower pictures are enlarged by the smallest whole factor that reaches it
  int max_scale = 4;
  int margin = 20;  // white pixels on every side, after enlarging: Tesseract expects room around a line
};

// ITU-R 601 luma, enlarged bicubically (a = -1/2, as PIL).
GrayPage MakePage(const v1::ScoreItem& item, const PageOptions& options);

}  // namespace flowawr
