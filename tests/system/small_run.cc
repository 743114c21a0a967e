#include "tests/system/small_run.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/file.h"
#include "common/config/run_config.h"
#include "common/rpc/channel.h"
#include "common/rpc/endpoint_file.h"
#include "common/rpc/status.h"
#include "flowawr/v1/control.grpc.pb.h"

namespace flowawr {
namespace {

constexpr size_t kLogTail = 6000;

// A batch of 2 groups x 4 images of 3 steps; the reward is the size as JPEG, quick and different for every image.
constexpr char kConfig[] = R"(
name: system-test
run_dir: run
model: {path: models/tiny-sd3, height: 32, width: 64, max_sequence_length: 12}
lora: {rank: 4, alpha: 8}
prompts: {train: models/tiny-sd3/prompts/train.txt, heldout: models/tiny-sd3/prompts/heldout.txt}
sampler: {solver: dpm_solver_pp_2m, steps: 3}
rollout: {groups_per_batch: 2, samples_per_group: 4, max_staleness: 0, lease_timeout_s: 2}
rewards: {terms: [{scorer: small}]}
algorithm: {flow_awr: {energy: soft}, behaviour: current}
optimizer: {learning_rate: 0.001}
train: {updates: 6, timesteps_per_sample: 2, micro_batch: 8, threads: 1}
evaluation: {every_updates: 3, prompts: 2, final_prompts: 3, solver: euler, steps: 2, pictures: 2}
checkpoint: {every_updates: 1, keep: 2}
)";

}  // namespace

v1::RunConfig SmallConfig(const std::string& run_dir, const std::vector<std::string>& settings) {
  std::vector<std::string> all = {absl::StrCat("run_dir=", run_dir)};
  all.insert(all.end(), settings.begin(), settings.end());
  const auto config = ParseRunConfig(kConfig, "small_run.cc", all);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value();
}

std::string SystemProgram(const std::string& name) {
  const char* build = std::getenv("FLOWAWR_BUILD_DIR");
  return absl::StrCat(build == nullptr ? "build/release" : build, "/bin/", name);
}

std::string AwaitEndpoint(const std::string& file, const Process& process) {
  const absl::Time limit = absl::Now() + kPatience;
  while (absl::Now() < limit) {
    if (const auto endpoint = ReadEndpointFile(file); endpoint.ok()) return *endpoint;
    if (process.WaitForExit(absl::Milliseconds(5))) break;
  }
  ADD_FAILURE() << "no endpoint file " << file << "; log:\n" << process.log();
  return "";
}

v1::Status AwaitStatus(const std::string& learner_endpoint, absl::FunctionRef<bool(const v1::Status&)> wanted,
                       const v1::NetworkConfig& network) {
  const auto control = v1::Control::NewStub(MakeChannel(learner_endpoint, network).value());
  const auto context = MakeContext(kPatience, network);
  v1::WatchStatusRequest request;
  request.set_max_hz(100);
  const auto stream = control->WatchStatus(context.get(), request);
  v1::Status status;
  while (stream->Read(&status)) {
    if (!wanted(status)) continue;
    context->TryCancel();
    stream->Finish();
    return status;
  }
  ADD_FAILURE() << "the learner went away before the status that was waited for: " << FromGrpc(stream->Finish())
                << "; last status:\n"
                << status.ShortDebugString();
  return status;
}

bool AwaitText(const std::string& file, const std::string& text, const Process& process) {
  const absl::Time limit = absl::Now() + kPatience;
  bool has_ended = false;
  while (absl::Now() < limit) {
    if (ReadFile(file).value_or("").find(text) != std::string::npos) return true;
    if (has_ended) break;
    has_ended = process.WaitForExit(absl::Milliseconds(5));
  }
  ADD_FAILURE() << "\"" << text << "\" did not appear in " << file;
  return false;
}

void ShowLogOfFailure(const std::string& path) {
  if (!testing::Test::HasFailure()) return;
  std::string log = ReadFile(path).value_or("(none)");
  if (log.size() > kLogTail) log = "..." + log.substr(log.size() - kLogTail);
  std::cerr << "---- " << std::filesystem::path(path).filename().string() << "\n" << log << "\n";
}

}  // namespace flowawr
