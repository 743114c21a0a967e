#include "tests/system/cluster.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/config/run_config.h"
#include "common/rpc/channel.h"
#include "common/rpc/endpoint_file.h"
#include "common/rpc/status.h"

namespace flowawr {
namespace {

constexpr size_t kLogTail = 6000;

// A batch of 2 groups x 4 images of 3 steps; the reward is the size as JPEG, quick and different for every image.
constexpr char kConfig[] = R"(
name: system-test
run_dir: RUN_DIR
model: {path: models/tiny-sd3, height: 32, width: 64, max_sequence_length: 12}
lora: {rank: 4, alpha: 8}
prompts: {train: models/tiny-sd3/prompts/train.txt, heldout: models/tiny-sd3/prompts/heldout.txt}
sampler: {solver: dpm_solver_pp_2m, steps: 3}
rollout: {groups_per_batch: 2, samples_per_group: 4, max_staleness: 0, lease_timeout_s: 2}
rewards: {terms: [{scorer: small}]}
algorithm: {energy: soft, behaviour: current}
optimizer: {learning_rate: 0.001}
train: {updates: 6, timesteps_per_sample: 2, micro_batch: 8, threads: 1}
evaluation: {every_updates: 3, prompts: 2, final_prompts: 3, solver: euler, steps: 2, pictures: 2}
checkpoint: {every_updates: 1, keep: 2}
)";

}  // namespace

Cluster::Cluster(const std::vector<std::string>& settings) {
  std::vector<std::string> all = {absl::StrCat("run_dir=", run_dir())};
  all.insert(all.end(), settings.begin(), settings.end());
  const auto config = ParseRunConfig(kConfig, "cluster.cc", all);
  EXPECT_TRUE(config.ok()) << config.status();
  network_ = config->network();
  const auto yaml = RunConfigToYaml(config.value());
  EXPECT_TRUE(yaml.ok()) << yaml.status();
  folder_.Write("config.yaml", yaml.value());
}

Cluster::~Cluster() {
  actors_.clear();
  learner_.reset();
  rewards_.reset();
  if (!testing::Test::HasFailure()) return;
  for (const std::string& path : logs_) {
    std::string log = ReadFile(path).value_or("(none)");
    if (log.size() > kLogTail) log = "..." + log.substr(log.size() - kLogTail);
    std::cerr << "---- " << std::filesystem::path(path).filename().string() << "\n" << log << "\n";
  }
}

std::string Cluster::Program(const std::string& name) {
  const char* build = std::getenv("FLOWAWR_BUILD_DIR");
  return absl::StrCat(build == nullptr ? "build/release" : build, "/bin/", name);
}

std::string Cluster::NewLog(const std::string& name) {
  logs_.push_back(folder_ / absl::StrCat(++starts_, "-", name, ".log"));
  return logs_.back();
}

std::string Cluster::WaitForEndpoint(const std::string& file, const Process& process) {
  const absl::Time limit = absl::Now() + kPatience;
  while (absl::Now() < limit) {
    if (const auto endpoint = ReadEndpointFile(file); endpoint.ok()) return *endpoint;
    if (process.WaitForExit(absl::Milliseconds(5))) break;
  }
  ADD_FAILURE() << "no endpoint file " << file << "; log:\n" << process.log();
  return "";
}

void Cluster::AddArguments(const std::vector<std::string>& arguments) {
  arguments_.insert(arguments_.end(), arguments.begin(), arguments.end());
}

std::unique_ptr<Process> Cluster::Start(std::vector<std::string> command, const std::string& name) {
  command.insert(command.end(), arguments_.begin(), arguments_.end());
  return std::make_unique<Process>(std::move(command), NewLog(name));
}

void Cluster::StartRewards() {
  const std::string file = folder_ / absl::StrCat("rewards-", ++starts_);
  rewards_ =
      Start({Program("flowawr-reward-server"), "--listen", reward_endpoint_.empty() ? "127.0.0.1:0" : reward_endpoint_,
             "--scorer", "small=jpeg_compressibility,scale=1", "--scorer", "twin=jpeg_compressibility,scale=1",
             "--scorer", "ocr", "--threads", "1", "--endpoint-file", file, "--network-config", config_path()},
            "rewards");
  reward_endpoint_ = WaitForEndpoint(file, *rewards_);
}

void Cluster::StartLearner(bool is_resume, const std::vector<std::string>& wrapper) {
  const std::string file = folder_ / absl::StrCat("learner-", ++starts_);
  std::vector<std::string> command = wrapper;
  for (const std::string& part :
       {Program("flowawr-learner"), std::string("--config"), config_path(), std::string("--reward-endpoint"),
        reward_endpoint_, std::string("--endpoint-file"), file})
    command.push_back(part);
  if (!learner_endpoint_.empty()) {
    command.push_back("--listen");
    command.push_back(learner_endpoint_);
  }
  if (is_resume) command.push_back("--resume");
  learner_ = Start(command, "learner");
  learner_endpoint_ = WaitForEndpoint(file, *learner_);
}

void Cluster::StartActor(const std::string& name) {
  actors_[name] = Start({Program("flowawr-actor"), "--learner", learner_endpoint_, "--id", name, "--threads", "1",
                         "--network-config", config_path()},
                        name);
}

void Cluster::StartAll() {
  StartRewards();
  StartLearner();
  StartActor("actor-0");
  StartActor("actor-1");
}

std::unique_ptr<v1::Control::Stub> Cluster::Control() const {
  return v1::Control::NewStub(MakeChannel(learner_endpoint_, network_).value());
}

v1::Status Cluster::WaitForStatus(absl::FunctionRef<bool(const v1::Status&)> wanted) const {
  const auto control = Control();
  const auto context = MakeContext(kPatience, network_);
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

v1::Status Cluster::WaitForUpdate(uint64_t update) const {
  return WaitForStatus([update](const v1::Status& status) { return status.update() >= update; });
}

void Cluster::ExpectToFinish() {
  EXPECT_EQ(learner_->Wait(), 0) << "learner";
  for (const auto& [name, actor] : actors_) actor->Signal(SIGTERM);
  for (const auto& [name, actor] : actors_) EXPECT_EQ(actor->Wait(), 0) << name;
}

std::string Cluster::ExportedAdapter() const {
  return ReadFile(run_dir() + "/export/peft/adapter_model.safetensors").value_or("");
}

}  // namespace flowawr
