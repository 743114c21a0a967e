// A run directory in a temporary place, filled by hand.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/ids.h"
#include "common/tensor/image.h"

namespace flowawr {

class RunDirectoryFixture : public testing::Test {
 protected:
  RunDirectoryFixture() : run_dir_(absl::StrCat(testing::TempDir(), "run-", RandomId())) {
    std::filesystem::create_directories(run_dir_);
  }
  ~RunDirectoryFixture() override { std::filesystem::remove_all(run_dir_); }

  void Write(const std::string& file, const std::string& bytes) const {
    const std::filesystem::path path = std::filesystem::path(run_dir_) / file;
    std::filesystem::create_directories(path.parent_path());
    ASSERT_TRUE(WriteFileAtomically(path.string(), bytes).ok());
  }

  std::string Read(const std::string& file) const { return ReadFile(run_dir_ + "/" + file).value_or("MISSING"); }

  // images/<set>/<name>.png, plain grey, and the JSON beside it.
  void WritePicture(const std::string& set, const std::string& name, const std::string& prompt, double reward,
                    const std::string& text, const std::string& exact = "") const {
    const Image image{8, 16, std::string(8 * 16 * 3, '\x7f')};
    Write(absl::StrCat("images/", set, "/", name, ".png"), *EncodePng(image));
    nlohmann::json details = {{"text", text}};
    if (!exact.empty()) details["exact"] = exact;
    Write(absl::StrCat("images/", set, "/", name, ".json"),
          nlohmann::json{{"prompt", prompt}, {"reward", reward}, {"details", details}}.dump());
  }

  static std::string UpdateLine(int update, double reward) {
    return nlohmann::json{{"kind", "update"},
                          {"update", update},
                          {"reward_mean", reward},
                          {"loss", 0.5},
                          {"kl", 0.01},
                          {"grad_norm", 0.25},
                          {"elapsed_s", 10.0 * update},
                          {"samples_trained", 128 * update},
                          {"skipped", false},
                          {"seconds", {{"train", 3.0}, {"wait", 1.0}}}}
               .dump() +
           "\n";
  }

  // At update 0 that of the base model, later the run's last one.
  static std::string EvaluationLine(int update, double reward, double exact, const std::string& set = "final") {
    return nlohmann::json{{"set", update == 0 ? "base" : set},{"kind", "evaluation"},       {"update", update},
                          {"reward_mean", reward},      {"reward_stderr", 0.02},
                          {"exact_share", exact},       {"images", 64},
                          {"elapsed_s", 10.0 * update}, {"by_scorer", {{"ocr", reward}}}}
               .dump() +
           "\n";
  }

  const std::string run_dir_;
};

}  // namespace flowawr
