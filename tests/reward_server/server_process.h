// A reward server as users run it: a real process, real gRPC.
#pragma once

#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/rpc/channel.h"
#include "common/rpc/endpoint_file.h"
#include "common/rpc/status.h"
#include "flowawr/v1/reward.grpc.pb.h"
#include "gtest/gtest.h"
#include "tests/reward_server/scorers/test_items.h"
#include "tests/system/process.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {

inline v1::NetworkConfig Network() {
  v1::NetworkConfig network;
  network.set_max_message_mib(16);
  return network;
}

class ServerProcess {
 public:
  explicit ServerProcess(std::vector<std::string> arguments) {
    const char* build = std::getenv("FLOWAWR_BUILD_DIR");
    arguments.insert(arguments.begin(),
                     absl::StrCat(build == nullptr ? "build/release" : build, "/bin/flowawr-reward-server"));
    arguments.push_back("--endpoint-file=" + endpoint_file());
    process_ = std::make_unique<Process>(arguments, folder_.path() + "/log");
  }

  std::unique_ptr<v1::RewardService::Stub> WaitUntilServing() {
    const absl::Time limit = absl::Now() + kPatience;
    while (absl::Now() < limit) {
      const auto endpoint = ReadEndpointFile(endpoint_file());
      if (endpoint.ok()) return v1::RewardService::NewStub(MakeChannel(*endpoint, Network()).value());
      if (process_->WaitForExit(absl::Milliseconds(5))) break;
    }
    ADD_FAILURE() << "no endpoint file; log:\n" << log();
    return nullptr;
  }
  std::string endpoint() const { return ReadEndpointFile(endpoint_file()).value_or(""); }
  // The exit code, or 128 + the signal.
  int Wait() const { return process_->Wait(); }
  void Signal(int signal) { process_->Signal(signal); }
  pid_t pid() const { return process_->pid(); }
  std::string log() const { return process_->log(); }

 private:
  std::string endpoint_file() const { return folder_.path() + "/endpoint"; }

  TempFolder folder_;
  std::unique_ptr<Process> process_;
};

template <typename Method, typename Request, typename Response>
absl::Status Call(v1::RewardService::Stub& stub, Method method, const Request& request, Response& response,
                  absl::Duration patience = kPatience) {
  const auto context = MakeContext(patience, Network());
  return FromGrpc((stub.*method)(context.get(), request, &response));
}

inline v1::ScoreRequest ScoreRequestFor(const std::string& scorer, const std::vector<v1::ScoreItem>& items) {
  v1::ScoreRequest request;
  request.set_scorer(scorer);
  for (const v1::ScoreItem& item : items) *request.add_items() = item;
  return request;
}

// Tesseract is at this one for a minute and a half on a fast core.
inline v1::ScoreItem Noise() {
  std::mt19937 random(1);
  Image noise = Plain(2048, 2048);
  for (char& byte : noise.rgb) byte = static_cast<char>(random());
  return MakeItem(noise, "\"CAT\"");
}

}  // namespace flowawr
