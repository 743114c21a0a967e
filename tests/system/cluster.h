// A whole service of real processes, as `flowawr run` starts them, in a temporary folder: one learner, a reward server
// and actors on the embedded model, with settings so small that an update takes a fraction of a second.
//
// Every wait is on an RPC, a process or a file that appears, never on a guess of how long something takes. When the
// test has failed, the destructor prints what the processes logged.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "flowawr/v1/control.grpc.pb.h"
#include "tests/system/process.h"
#include "tests/system/small_run.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {

class Cluster {
 public:
  // `settings` are "path=value" over the small configuration, as of `--set`.
  explicit Cluster(const std::vector<std::string>& settings = {});
  ~Cluster();

  // For every process started from now on.
  void AddArguments(const std::vector<std::string>& arguments);

  // Returns once it serves; the second time at the address of the first.
  void StartRewards();
  // Instead: a reward server that somebody else has started.
  void UseRewards(const std::string& endpoint) { reward_endpoint_ = endpoint; }
  // Where the learner will serve, instead of at any free port.
  void UseLearnerAddress(const std::string& endpoint) { learner_endpoint_ = endpoint; }
  // Returns once it serves; with `is_resume`, at the address of the first. `wrapper` is a command put before it.
  void StartLearner(bool is_resume = false, const std::vector<std::string>& wrapper = {});
  // Does not wait. One process a name; starting a name again forgets the process before.
  void StartActor(const std::string& name);
  // Rewards, learner, two actors.
  void StartAll();

  Process& learner() { return *learner_; }
  Process& rewards() { return *rewards_; }
  Process& actor(const std::string& name) { return *actors_.at(name); }
  const std::string& learner_endpoint() const { return learner_endpoint_; }
  const std::string& reward_endpoint() const { return reward_endpoint_; }
  const std::string& folder() const { return folder_.path(); }  // of all below
  std::string config_path() const { return folder_ / "config.yaml"; }
  std::string run_dir() const { return folder_ / "run"; }

  std::unique_ptr<v1::Control::Stub> Control() const;
  // The first status of the learner that satisfies `wanted`; fails the test when the learner goes away before.
  v1::Status WaitForStatus(absl::FunctionRef<bool(const v1::Status&)> wanted) const;
  v1::Status WaitForUpdate(uint64_t update) const;

  // Waits for the learner to finish and for every actor to leave with 0. An actor that was started too late to
  // reach the learner cannot know that the run is over: it is told by SIGTERM, as `flowawr run` does.
  void ExpectToFinish();
  // The exported adapter, for peft; empty when there is none.
  std::string ExportedAdapter() const;

  std::string NewLog(const std::string& name);

 private:
  std::unique_ptr<Process> Start(std::vector<std::string> command, const std::string& name);

  TempFolder folder_;
  int starts_ = 0;
  v1::NetworkConfig network_;
  std::vector<std::string> arguments_, logs_;
  std::string reward_endpoint_, learner_endpoint_;
  std::unique_ptr<Process> rewards_, learner_;
  std::map<std::string, std::unique_ptr<Process>> actors_;
};

}  // namespace flowawr
