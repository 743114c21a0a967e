#include "tests/system/cluster.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/config/run_config.h"
#include "common/rpc/channel.h"

namespace flowawr {

Cluster::Cluster(const std::vector<std::string>& settings) {
  const v1::RunConfig config = SmallConfig(run_dir(), settings);
  network_ = config.network();
  folder_.Write("config.yaml", RunConfigToYaml(config).value());
}

Cluster::~Cluster() {
  actors_.clear();
  learner_.reset();
  rewards_.reset();
  for (const std::string& path : logs_) ShowLogOfFailure(path);
}

std::string Cluster::NewLog(const std::string& name) {
  logs_.push_back(folder_ / absl::StrCat(++starts_, "-", name, ".log"));
  return logs_.back();
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
  rewards_ = Start(
      {SystemProgram("flowawr-reward-server"), "--listen", reward_endpoint_.empty() ? "127.0.0.1:0" : reward_endpoint_,
       "--scorer", "small=jpeg_compressibility,scale=1", "--scorer", "twin=jpeg_compressibility,scale=1", "--scorer",
       "ocr", "--threads", "1", "--endpoint-file", file, "--network-config", config_path()},
      "rewards");
  reward_endpoint_ = AwaitEndpoint(file, *rewards_);
}

void Cluster::StartLearner(bool is_resume, const std::vector<std::string>& wrapper) {
  const std::string file = folder_ / absl::StrCat("learner-", ++starts_);
  std::vector<std::string> command = wrapper;
  for (const std::string& part :
       {SystemProgram("flowawr-learner"), std::string("--config"), config_path(), std::string("--reward-endpoint"),
        reward_endpoint_, std::string("--endpoint-file"), file})
    command.push_back(part);
  if (!learner_endpoint_.empty()) {
    command.push_back("--listen");
    command.push_back(learner_endpoint_);
  }
  if (is_resume) command.push_back("--resume");
  learner_ = Start(command, "learner");
  learner_endpoint_ = AwaitEndpoint(file, *learner_);
}

void Cluster::StartActor(const std::string& name) {
  actors_[name] = Start({SystemProgram("flowawr-actor"), "--learner", learner_endpoint_, "--id", name, "--threads", "1",
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
  return AwaitStatus(learner_endpoint_, wanted, network_);
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
