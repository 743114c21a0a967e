// `flowawr encode`: the embeddings of prompts, into a cache that actors read.
#pragma once

#include <cstddef>
#include <string>

#include "absl/time/time.h"

namespace CLI {
class App;
}

namespace flowawr {

void AddEncodeCommand(CLI::App& app, int* exit_code);

// "text_encoder_3: 120 of 1000 prompts, 2.5 a second, about 5:52 left", where the last `timed` prompts took `elapsed`;
// of rate and time nothing before they are known. Pure.
std::string DescribeEncoding(const std::string& component, size_t done, size_t all, size_t timed,
                             absl::Duration elapsed);

}  // namespace flowawr
