// Tells people how far the reading of a model has come: gigabytes take a while from a slow disk.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/strings/string_view.h"

namespace flowawr {

// `component` of the model, and how many bytes of its files are read. Called often, on the thread that reads.
using ComponentProgress = std::function<void(absl::string_view component, int64_t bytes, int64_t total)>;

// A line of the log when a component is read, with what it took, and one every few seconds before that.
ComponentProgress LogReading();

// "reading transformer: 1.2 of 4.9 GB"
std::string ReadingText(absl::string_view component, int64_t bytes, int64_t total);

}  // namespace flowawr
