#include "common/telemetry/event_writer.h"

#include <cstdlib>
#include <filesystem>
#include <string>

#include "common/base/file.h"
#include "common/tensor/image.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

// What TensorBoard's own reader makes of the folder.
std::string ReadBack(const std::string& events, const TempFolder& scratch) {
  const std::string output = scratch / "output.txt";
  const std::string command = ".venv/bin/python tests/common/telemetry/read_events.py " + events + " > " + output +
                              " 2> " + scratch / "errors.txt";
  EXPECT_EQ(std::system(command.c_str()), 0) << "needs the Python libraries of scripts/setup --tests\n"
                                             << ReadFile(scratch / "errors.txt").value_or("");
  return ReadFile(output).value_or("");
}

TEST(EventWriter, WritesWhatTensorBoardReads) {
  const TempFolder folder;
  const auto writer = EventWriter::Create(folder / "events");
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE((*writer)->AddScalar("reward/mean", 1, 0.5).ok());
  EXPECT_TRUE((*writer)->AddScalar("reward/mean", 2, -0.25).ok());
  const Image grey{.height = 2, .width = 3, .rgb = std::string(18, '\x80')};
  EXPECT_TRUE((*writer)->AddImage("heldout", 2, grey.height, grey.width, EncodePng(grey).value()).ok());
  EXPECT_EQ(ReadBack(folder / "events", folder),
            "scalar reward/mean 1 0.5\nscalar reward/mean 2 -0.25\nimage heldout 2 2 3 PNG\n");
}

TEST(EventWriter, AddsAFileWhenARunGoesOn) {
  const TempFolder folder;
  for (int step = 1; step <= 2; ++step)
    EXPECT_TRUE(EventWriter::Create(folder.path()).value()->AddScalar("loss", step, step).ok());
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) files += entry.is_regular_file();
  EXPECT_EQ(files, 2);
}

TEST(EventWriter, NamesAFolderThatCannotBe) {
  const TempFolder folder;
  const absl::Status status = EventWriter::Create(folder.Write("file", "") + "/events").status();
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("file/events"), absl::string_view::npos) << status;
}

}  // namespace
}  // namespace flowawr
