// The ten colours of the GenEval benchmark: what its prompts ask for and its scorer tells apart.
#pragma once

#include <array>

namespace flowawr {

// In GenEval's order: the first of equally likely ones is taken.
inline constexpr std::array<const char*, 10> kGenevalColours = {"red",    "orange", "yellow", "green", "blue",
                                                                "purple", "pink",   "brown",  "black", "white"};

}  // namespace flowawr
