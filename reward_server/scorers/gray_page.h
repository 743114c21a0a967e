#pragma once

#include <cstdint>
#include <vector>

namespace flowawr {

struct GrayPage {
  int height = 0;
  int width = 0;
  std::vector<uint8_t> pixels;  // height * width, rows from the top
};

}  // namespace flowawr
