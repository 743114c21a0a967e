// How far a computation of ours is from the published Python class, held against what is allowed and written down.
//
// With FLOWAWR_PARITY_DIR set, every comparison appends a line of JSON to a file there, named after the executable.
// tools/parity_table.py turns such a folder into the table of docs/parity.md.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"

namespace flowawr {

// A row of the table; it shows the worst of its cases.
struct ParityCheck {
  std::string part;     // what is compared, and in which type
  std::string sizes;    // of which models or inputs
  std::string against;  // the class that is taken for right
  bool is_slow = false;
};

// Low precision may be this much further from their f32 result than theirs is, the rest being luck of rounding. Another
// device adds up in another order, and the luck of a small model is greater.
inline double NoFurther() { return std::getenv("FLOWAWR_TEST_DEVICE") == nullptr ? 1.05 : 1.2; }

inline void WriteParityLine(const ParityCheck& check, nlohmann::json line) {
  const char* folder = std::getenv("FLOWAWR_PARITY_DIR");
  if (folder == nullptr) return;
  const char* device = std::getenv("FLOWAWR_TEST_DEVICE");
  line.update({{"part", device == nullptr ? check.part : absl::StrCat(check.part, ", on ", device)},
               {"sizes", check.sizes},
               {"against", check.against},
               {"when", check.is_slow ? "slow" : "every run"}});
  std::filesystem::create_directories(folder);
  std::ofstream file(absl::StrCat(folder, "/", program_invocation_short_name, ".jsonl"), std::ios::app);
  file << line.dump() << "\n";
  EXPECT_TRUE(file.flush().good()) << folder;
}

// `measure` says what kind of number `measured` is: "relative error", "mismatches".
inline void ExpectAtMost(const ParityCheck& check, const std::string& name, const std::string& measure, double measured,
                         double bound) {
  EXPECT_LE(measured, bound) << check.part << ", " << name << ": " << measure;
  WriteParityLine(check,
                  {{"case", name}, {"measure", measure}, {"measured", measured}, {"bound", bound}, {"at_most", true}});
}

inline void ExpectAtLeast(const ParityCheck& check, const std::string& name, const std::string& measure,
                          double measured, double bound) {
  EXPECT_GE(measured, bound) << check.part << ", " << name << ": " << measure;
  WriteParityLine(check,
                  {{"case", name}, {"measure", measure}, {"measured", measured}, {"bound", bound}, {"at_most", false}});
}

// The rule of low precision: our distance from their f32 result is no greater than their own.
inline void ExpectNoFurther(const ParityCheck& check, const std::string& name, double ours, double theirs,
                            double bound = NoFurther()) {
  EXPECT_GT(theirs, 0) << check.part << ", " << name << ": nothing was rounded";
  EXPECT_LE(ours, bound * theirs) << check.part << ", " << name << ": distance from f32 against theirs";
  WriteParityLine(check, {{"case", name},
                          {"measure", "distance from f32, ours / theirs"},
                          {"measured", ours / theirs},
                          {"ours", ours},
                          {"theirs", theirs},
                          {"bound", bound},
                          {"at_most", true}});
}

}  // namespace flowawr
