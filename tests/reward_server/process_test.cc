// The server as users run it: a real process, real gRPC, signals.
#include "tests/system/process.h"

#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/file.h"
#include "common/rpc/channel.h"
#include "common/rpc/endpoint_file.h"
#include "common/rpc/status.h"
#include "flowawr/v1/reward.grpc.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/reward_server/scorers/test_items.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

v1::NetworkConfig Network() {
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
absl::Status Call(v1::RewardService::Stub& stub, Method method, const Request& request, Response& response) {
  const auto context = MakeContext(kPatience, Network());
  return FromGrpc((stub.*method)(context.get(), request, &response));
}

v1::ScoreRequest ScoreRequestFor(const std::string& scorer, const std::vector<v1::ScoreItem>& items) {
  v1::ScoreRequest request;
  request.set_scorer(scorer);
  for (const v1::ScoreItem& item : items) *request.add_items() = item;
  return request;
}

absl::Status Load(v1::RewardService::Stub& stub, const std::string& name, const std::string& kind) {
  v1::LoadScorerRequest request;
  request.set_name(name);
  request.set_kind(kind);
  v1::LoadScorerResponse response;
  return Call(stub, &v1::RewardService::Stub::LoadScorer, request, response);
}

absl::Status Unload(v1::RewardService::Stub& stub, const std::string& name) {
  v1::UnloadScorerRequest request;
  request.set_name(name);
  v1::UnloadScorerResponse response;
  return Call(stub, &v1::RewardService::Stub::UnloadScorer, request, response);
}

TEST(RewardServerProcessTest, ScoresOverGrpcAndStopsOnSigterm) {
  ServerProcess server({"--scorer=ocr", "--scorer=small=jpeg_compressibility,scale=5"});
  const auto stub = server.WaitUntilServing();
  ASSERT_NE(stub, nullptr);
  auto items = DrawWords({"CAT", "DOG"});
  items.push_back(MakeItem(Plain(32, 64), "no target"));
  v1::ScoreResponse response;
  ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::Score, ScoreRequestFor("ocr", items), response).ok());
  ASSERT_EQ(response.results_size(), 3);
  EXPECT_EQ(response.results(0).reward(), 1);
  EXPECT_EQ(response.results(1).details().at("text"), "DOG");
  EXPECT_EQ(response.results(2).error().kind(), v1::ScoreError::BAD_INPUT);
  EXPECT_THAT(response.scorer_version(), HasSubstr("tesseract"));
  response.Clear();
  ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::Score, ScoreRequestFor("small", items), response).ok());
  EXPECT_LT(response.results(0).reward(), 0);
  EXPECT_TRUE(
      absl::IsNotFound(Call(*stub, &v1::RewardService::Stub::Score, ScoreRequestFor("telepathy", items), response)));
  EXPECT_TRUE(
      absl::IsInvalidArgument(Call(*stub, &v1::RewardService::Stub::Score, ScoreRequestFor("ocr", {}), response)));
  EXPECT_THAT(ReadFile(absl::StrCat("/proc/", server.pid(), "/environ")).value(), HasSubstr("OMP_THREAD_LIMIT=1"));
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0) << server.log();
}

TEST(RewardServerProcessTest, LosesNoRequestWhileScorersAreLoadedAndUnloaded) {
  ServerProcess server({"--scorer=ocr", "--threads=2"});
  const auto stub = server.WaitUntilServing();
  ASSERT_NE(stub, nullptr);
  const v1::ScoreRequest request = ScoreRequestFor("ocr", DrawWords({"CAT", "DOG"}));
  std::atomic<bool> is_over = false;
  std::atomic<int> answered = 0;
  std::thread client([&] {
    while (!is_over) {
      v1::ScoreResponse response;
      ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::Score, request, response).ok());
      for (const v1::ScoreResult& result : response.results()) EXPECT_EQ(result.reward(), 1);
      ++answered;
    }
  });
  for (int round = 0; round < 5; ++round) {
    const int before = answered;
    EXPECT_TRUE(Load(*stub, "second", round % 2 == 0 ? "ocr" : "jpeg_compressibility").ok());
    EXPECT_TRUE(absl::IsAlreadyExists(Load(*stub, "second", "ocr")));
    v1::ScoreRequest to_second = request;
    to_second.set_scorer("second");
    v1::ScoreResponse response;
    EXPECT_TRUE(Call(*stub, &v1::RewardService::Stub::Score, to_second, response).ok());
    EXPECT_TRUE(Unload(*stub, "second").ok());
    EXPECT_TRUE(absl::IsNotFound(Call(*stub, &v1::RewardService::Stub::Score, to_second, response)));
    while (answered == before) std::this_thread::yield();
  }
  is_over = true;
  client.join();
  v1::ListScorersResponse list;
  ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::ListScorers, v1::ListScorersRequest(), list).ok());
  ASSERT_EQ(list.scorers_size(), 1);
  EXPECT_EQ(list.scorers(0).images_scored(), 2 * answered);
  EXPECT_EQ(list.scorers(0).errors(), 0);
}

TEST(RewardServerProcessTest, AnswersWhatIsUnderWayBeforeItStops) {
  ServerProcess server({"--scorer=ocr", "--threads=1"});
  const auto stub = server.WaitUntilServing();
  ASSERT_NE(stub, nullptr);
  std::vector<v1::ScoreItem> items;
  const v1::ScoreItem word = DrawWords({"CAT"})[0];
  for (int i = 0; i < 200; ++i) items.push_back(word);
  absl::Status status = absl::UnknownError("not called");
  v1::ScoreResponse response;
  std::thread client(
      [&] { status = Call(*stub, &v1::RewardService::Stub::Score, ScoreRequestFor("ocr", items), response); });
  v1::ListScorersResponse list;
  do {
    list.Clear();
    ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::ListScorers, v1::ListScorersRequest(), list).ok());
  } while (list.scorers(0).images_scored() == 0);
  server.Signal(SIGTERM);
  client.join();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(response.results_size(), 200);
  EXPECT_EQ(server.Wait(), 0) << server.log();
}

TEST(RewardServerProcessTest, LeavesWithAnErrorThatSaysWhatToDo) {
  const struct {
    std::vector<std::string> arguments;
    int exit_code;
    std::string message;
  } cases[] = {
      {{"--scorer=telepathy"}, 66, "unknown scorer kind \"telepathy\""},
      {{"--scorer=ocr,language=xyz"}, 66, "tesseract-ocr-eng"},
      {{"--listen=0.0.0.0:0"}, 77, "network.insecure"},
      {{"--colour"}, 64, ""},
  };
  for (const auto& c : cases) {
    ServerProcess server(c.arguments);
    EXPECT_EQ(server.Wait(), c.exit_code) << c.arguments[0];
    EXPECT_THAT(server.log(), HasSubstr(c.message));
  }
}

TEST(RewardServerProcessTest, SaysWhenItsPortIsTaken) {
  ServerProcess first({});
  ASSERT_NE(first.WaitUntilServing(), nullptr);
  ServerProcess second({"--listen=" + first.endpoint()});
  EXPECT_EQ(second.Wait(), 73);
  EXPECT_THAT(second.log(), HasSubstr("already in use"));
}

}  // namespace
}  // namespace flowawr
