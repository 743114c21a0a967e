#include "common/config/copy_place.h"

#include <filesystem>
#include <string>

#include "common/base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string Error(const std::string& run_dir, const std::string& copy_to) {
  return std::string(CheckCopyPlace(run_dir, copy_to).message());
}

TEST(CopyPlaceTest, IsNotInTheRunItself) {
  const TempFolder run;
  const std::string folder = run.path();
  for (const std::string& place :
       {folder, folder + "/", folder + "/checkpoints", folder + "/../" + fs::path(folder).filename().string()})
    EXPECT_THAT(Error(folder, place), HasSubstr("the run's own folder")) << place;
  EXPECT_EQ(Error(folder, folder + "-copies"), "");
}

TEST(CopyPlaceTest, IsOfOneRun) {
  const TempFolder folder;
  const std::string run = folder / "run", copies = folder / "copies";
  EXPECT_EQ(Error(run, copies), "") << "neither is there";
  fs::create_directories(copies + "/checkpoints/update-000003");
  ASSERT_TRUE(WriteFileAtomically(copies + "/run_id", "b\n").ok());
  EXPECT_THAT(Error(run, copies), HasSubstr("holds checkpoints of another run")) << "this one has not begun";
  fs::create_directories(run);
  ASSERT_TRUE(WriteFileAtomically(run + "/run_id", "a\n").ok());
  EXPECT_THAT(Error(run, copies), HasSubstr("holds checkpoints of another run"));
  ASSERT_TRUE(WriteFileAtomically(copies + "/run_id", "a\n").ok());
  EXPECT_EQ(Error(run, copies), "");
}

}  // namespace
}  // namespace flowawr
