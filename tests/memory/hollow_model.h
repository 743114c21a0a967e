// Model folders that have every tensor of a component, all zeros, and take no room on disk: sparse files. What is
// computed with them is meaningless and takes the time and memory of the real thing.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace flowawr {

using TensorShapes = std::map<std::string, std::vector<int64_t>>;

inline int64_t CountValues(const TensorShapes& shapes) {
  int64_t values = 0;
  for (const auto& [name, shape] : shapes) {
    int64_t of_tensor = 1;
    for (const int64_t size : shape) of_tensor *= size;
    values += of_tensor;
  }
  return values;
}

// As safetensors; `dtype` is the format's name, `bytes` of one value.
inline void WriteZeros(const std::string& file, const TensorShapes& shapes, const std::string& dtype, int64_t bytes) {
  nlohmann::json header = nlohmann::json::object();
  int64_t end = 0;
  for (const auto& [name, shape] : shapes) {
    const int64_t begin = end;
    end += bytes * CountValues({{name, shape}});
    header[name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 63) / 64 * 64, ' ');
  std::string length(8, '\0');
  for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i));
  std::ofstream(file, std::ios::binary) << length << text;
  std::filesystem::resize_file(file, 8 + text.size() + end);
}

// Fills `folder` with config.json and the weights `stem`.safetensors. The tensors are those that `load`, the
// component's own Load(), says are missing from an empty file. Returns their shapes.
inline TensorShapes WriteHollowComponent(const std::string& folder, const std::string& stem,
                                         const nlohmann::json& config, const std::string& dtype, int64_t bytes,
                                         const std::function<absl::Status(const std::string&)>& load) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/config.json") << config.dump();
  const std::string file = absl::StrCat(folder, "/", stem, ".safetensors");
  WriteZeros(file, {}, dtype, bytes);
  const std::regex missing(R"re(tensor "([^"]+)" is missing \(expected \[([0-9,]*)\])re");
  TensorShapes shapes;
  // An error lists some tens of them.
  for (size_t added = 1; added > 0;) {
    const std::string complaints(load(folder).message());
    added = 0;
    for (std::sregex_iterator found(complaints.begin(), complaints.end(), missing), end; found != end; ++found) {
      std::vector<int64_t>& shape = shapes[(*found)[1]];
      EXPECT_TRUE(shape.empty()) << complaints;
      for (const auto size : absl::StrSplit((*found)[2].str(), ',')) shape.push_back(std::stoll(std::string(size)));
      ++added;
    }
    WriteZeros(file, shapes, dtype, bytes);
  }
  EXPECT_FALSE(shapes.empty()) << load(folder);
  return shapes;
}

}  // namespace flowawr
