// What people type about a run: while it goes on, and when it is over.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"
#include "common/tensor/image.h"
#include "nlohmann/json.hpp"
#include "tests/system/live_run.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Of `flowawr`, which must succeed.
std::string OutputOf(const std::vector<std::string>& arguments) {
  const CommandResult result = Flowawr(arguments);
  EXPECT_EQ(result.exit_code, 0) << arguments[0] << ": " << result.output;
  return result.output;
}

nlohmann::json StatusOf(const std::string& run_dir) {
  return nlohmann::json::parse(OutputOf({"status", run_dir, "--json"}), nullptr, /*allow_exceptions=*/false);
}

int UpdatesOf(const nlohmann::json& status) { return status.value("update", -1); }

TEST(SystemControl, PausesSavesExportsAndGoesOn) {
  LiveRun run({"train.updates=1000"});
  run.Start();
  run.WaitForUpdate(1);
  EXPECT_THAT(OutputOf({"pause", run.run_dir()}), HasSubstr("paused after update"));
  const nlohmann::json paused = StatusOf(run.run_dir());
  EXPECT_EQ(paused.value("phase", ""), "PAUSED");
  EXPECT_THAT(OutputOf({"status", run.run_dir()}), HasSubstr("paused"));

  const std::string checkpoint(absl::StripSuffix(OutputOf({"checkpoint", run.run_dir()}), "\n"));
  EXPECT_TRUE(std::filesystem::exists(checkpoint + "/checkpoint.json")) << checkpoint;
  const std::string out = run.folder() / "halfway";
  EXPECT_THAT(OutputOf({"export", run.run_dir(), "--role", "current", "--out", out}), HasSubstr(out + "/peft"));
  for (const char* file : {"/peft/adapter_model.safetensors", "/peft/adapter_config.json", "/peft/README.md",
                           "/pytorch_lora_weights.safetensors"})
    EXPECT_TRUE(std::filesystem::exists(out + file)) << file;
  // Three commands later no more than the update that was under way has been made.
  const int held = UpdatesOf(StatusOf(run.run_dir()));
  EXPECT_LE(held, UpdatesOf(paused) + 1);

  EXPECT_THAT(OutputOf({"resume", run.run_dir()}), HasSubstr("going on after update"));
  run.WaitForUpdate(held + 2);
  run.process().Signal(SIGINT);
  EXPECT_EQ(run.process().Wait(), 130);
}

TEST(SystemControl, AnswersForARunThatIsOver) {
  // A learning rate at which so few updates show in the pictures.
  LiveRun run({"train.updates=3", "optimizer.learning_rate=0.02"});
  run.Start();
  run.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::RUNNING; });
  EXPECT_THAT(OutputOf({"watch", run.run_dir()}), HasSubstr("finished"));  // to its end
  ASSERT_EQ(run.process().Wait(), 0);
  const std::string output = run.process().log();
  EXPECT_THAT(output, HasSubstr("3 of 3 updates"));
  EXPECT_THAT(output, Not(HasSubstr("\x1b")));  // not a terminal: plain lines

  EXPECT_THAT(OutputOf({"status", run.run_dir()}),
              AllOf(HasSubstr("finished"), HasSubstr("loss "), Not(HasSubstr("loss 0.0000"))));
  const CommandResult pause = Flowawr({"pause", run.run_dir()});
  EXPECT_EQ(pause.exit_code, 69);
  EXPECT_THAT(pause.output, AllOf(HasSubstr("no learner runs for "), HasSubstr("the run has finished")));

  const std::string adapter = run.ExportedAdapter(), out = run.folder() / "again";
  ASSERT_FALSE(adapter.empty());
  OutputOf({"export", run.run_dir(), "--out", out});
  EXPECT_TRUE(ReadFile(out + "/peft/adapter_model.safetensors").value_or("") == adapter);
  OutputOf({"export", run.run_dir(), "--out", out, "--role", "current"});
  EXPECT_FALSE(ReadFile(out + "/peft/adapter_model.safetensors").value_or("") == adapter);

  const std::string report = run.run_dir() + "/report.html";
  const std::string written = ReadFile(report).value_or("");
  ASSERT_TRUE(std::filesystem::remove(report));
  OutputOf({"report", run.run_dir()});
  EXPECT_EQ(ReadFile(report).value_or(""), written);
}

// The pixels of OUT's first picture.
std::string Draw(const LiveRun& run, const std::string& out, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {
      "sample",    run.run_dir(), "--prompt", "a sign that says \"CAT\"", "--steps", "4",
      "--threads", "1",           "--out",    run.folder() / out};
  arguments.insert(arguments.end(), more.begin(), more.end());
  OutputOf(arguments);
  EXPECT_TRUE(std::filesystem::exists(run.folder() / (out + "/grid.png")));
  const auto png = ReadFile(run.folder() / (out + "/prompt-000-image-00.png"));
  EXPECT_TRUE(png.ok()) << png.status();
  const auto image = DecodePng(png.value_or(""));
  EXPECT_TRUE(image.ok()) << image.status();
  return image.ok() ? image->rgb : "";
}

TEST(SystemControl, DrawsWithTheResultOfARun) {
  LiveRun run({"train.updates=3", "optimizer.learning_rate=0.02"});
  ASSERT_EQ(run.Start().Wait(), 0);
  const std::string drawn = Draw(run, "first");
  EXPECT_EQ(drawn.size(), 32u * 64 * 3);
  EXPECT_TRUE(Draw(run, "again") == drawn);
  EXPECT_FALSE(Draw(run, "base", {"--base"}) == drawn);
  EXPECT_FALSE(Draw(run, "other", {"--seed", "2"}) == drawn);
  // Without what the run exported: its newest checkpoint has the same policy.
  std::filesystem::remove_all(run.run_dir() + "/export");
  EXPECT_TRUE(Draw(run, "checkpoint") == drawn);
}

}  // namespace
}  // namespace flowawr
