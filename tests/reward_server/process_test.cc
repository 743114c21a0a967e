// The server as users run it: a real process, real gRPC, signals.
#include "tests/system/process.h"

#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
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

// Process ids of its OCR readers. Proc lists only what a thread of the process has started.
std::vector<std::string> ReadersOf(pid_t server) {
  std::vector<std::string> readers;
  for (const auto& thread : std::filesystem::directory_iterator(absl::StrCat("/proc/", server, "/task"))) {
    std::ifstream children(thread.path() / "children");
    for (std::string pid; children >> pid;) readers.push_back(pid);
  }
  return readers;
}

template <typename Method, typename Request, typename Response>
absl::Status Call(v1::RewardService::Stub& stub, Method method, const Request& request, Response& response,
                  absl::Duration patience = kPatience) {
  const auto context = MakeContext(patience, Network());
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
  for (const std::string& reader : ReadersOf(server.pid()))
    EXPECT_THAT(ReadFile(absl::StrCat("/proc/", reader, "/environ")).value(), HasSubstr("OMP_THREAD_LIMIT=1"));
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

// Tesseract is at this one for a minute and a half on a fast core.
v1::ScoreItem Noise() {
  std::mt19937 random(1);
  Image noise = Plain(2048, 2048);
  for (char& byte : noise.rgb) byte = static_cast<char>(random());
  return MakeItem(noise, "\"CAT\"");
}

TEST(RewardServerProcessTest, EndsWorkThatNobodyWaitsFor) {
  ServerProcess server({"--scorer=ocr", "--threads=1"});
  const auto stub = server.WaitUntilServing();
  ASSERT_NE(stub, nullptr);
  const v1::ScoreRequest noise = ScoreRequestFor("ocr", {Noise()}), word = ScoreRequestFor("ocr", DrawWords({"CAT"}));
  v1::ScoreResponse response;
  const absl::Time start = absl::Now();
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      Call(*stub, &v1::RewardService::Stub::Score, noise, response, absl::Seconds(2))));
  // The one thread is free again, its reader replaced.
  ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::Score, word, response).ok());
  EXPECT_EQ(response.results(0).reward(), 1);
  EXPECT_LT(absl::Now() - start, absl::Seconds(25));
}

TEST(RewardServerProcessTest, AnImageThatTakesTooLongIsBrokenAndTheOthersAreAnswered) {
  ServerProcess server({"--scorer=ocr", "--threads=1", "--max-image-seconds=1"});
  const auto stub = server.WaitUntilServing();
  ASSERT_NE(stub, nullptr);
  v1::ScoreResponse response;
  std::vector<v1::ScoreItem> items = DrawWords({"CAT", "DOG"});
  items.insert(items.begin() + 1, Noise());
  ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::Score, ScoreRequestFor("ocr", items), response).ok());
  EXPECT_EQ(response.results(0).reward(), 1);
  EXPECT_EQ(response.results(1).error().kind(), v1::ScoreError::BROKEN);
  EXPECT_THAT(response.results(1).error().message(), HasSubstr("--max-image-seconds"));
  EXPECT_EQ(response.results(2).reward(), 1);
}

TEST(RewardServerProcessTest, StopsAndUnloadsWithinTheGraceWhateverIsUnderWay) {
  for (const bool is_unload : {true, false}) {
    ServerProcess server({"--scorer=ocr", "--threads=1", "--max-image-seconds=3600"});
    const auto stub = server.WaitUntilServing();
    ASSERT_NE(stub, nullptr);
    absl::Status status;
    std::thread client([&] {
      v1::ScoreResponse response;
      status = Call(*stub, &v1::RewardService::Stub::Score, ScoreRequestFor("ocr", {Noise()}), response);
    });
    v1::ListScorersResponse list;
    while (!list.scorers_size() || !list.scorers(0).has_seconds_since_use())
      ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::ListScorers, v1::ListScorersRequest(), list).ok());
    const absl::Time start = absl::Now();
    if (is_unload) {
      EXPECT_TRUE(Unload(*stub, "ocr").ok());
    } else {
      server.Signal(SIGTERM);
    }
    client.join();
    EXPECT_FALSE(status.ok());
    if (is_unload) server.Signal(SIGTERM);
    EXPECT_EQ(server.Wait(), 0) << server.log();
    EXPECT_LT(absl::Now() - start, absl::Seconds(40));
  }
}

TEST(RewardServerProcessTest, ItsReadersEndWithIt) {
  ServerProcess server({"--scorer=ocr", "--threads=2"});
  ASSERT_NE(server.WaitUntilServing(), nullptr);
  const std::vector<std::string> readers = ReadersOf(server.pid());
  EXPECT_EQ(readers.size(), 2);
  server.Signal(SIGKILL);
  EXPECT_EQ(server.Wait(), 128 + SIGKILL);
  // A reader that has ended is gone, or a zombie until init looks.
  const auto has_ended = [](const std::string& pid) {
    const auto stat = ReadFile(absl::StrCat("/proc/", pid, "/stat"));
    return !stat.ok() || stat->find(") Z ") != std::string::npos;
  };
  const absl::Time limit = absl::Now() + kPatience;
  for (const std::string& reader : readers)
    while (!has_ended(reader) && absl::Now() < limit) std::this_thread::yield();
  for (const std::string& reader : readers) EXPECT_TRUE(has_ended(reader));
}

TEST(RewardServerProcessTest, AnErrorAboutALongForeignPromptLeavesTheOtherAnswersReadable) {
  ServerProcess server({"--scorer=ocr"});
  const auto stub = server.WaitUntilServing();
  ASSERT_NE(stub, nullptr);
  std::vector<v1::ScoreItem> items = DrawWords({"CAT"});
  for (const std::string shift : {"", "x", "xx"}) {
    std::string text = shift;
    while (text.size() < 500) text += "\xE4\xB8\xAD";
    items.push_back(MakeItem(Plain(32, 64), text));
  }
  v1::ScoreResponse response;
  ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::Score, ScoreRequestFor("ocr", items), response).ok());
  EXPECT_EQ(response.results(0).reward(), 1);
  for (int i = 1; i < 4; ++i) EXPECT_EQ(response.results(i).error().kind(), v1::ScoreError::BAD_INPUT);
}

TEST(RewardServerProcessTest, ChecksPromptsBeforeAnythingIsDrawn) {
  ServerProcess server({"--scorer=ocr", "--scorer=jpeg_compressibility"});
  const auto stub = server.WaitUntilServing();
  ASSERT_NE(stub, nullptr);
  v1::CheckPromptsRequest request;
  request.set_scorer("ocr");
  for (const char* text : {"a sign that says \"CAT\"", "a sign that says CAT", "a sign that says “CAT”", "\"\""})
    request.add_prompts()->set_text(text);
  (*request.add_prompts()->mutable_metadata())["target"] = "CAT";
  v1::CheckPromptsResponse response;
  ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::CheckPrompts, request, response).ok());
  ASSERT_EQ(response.faults_size(), 2) << response.DebugString();
  EXPECT_EQ(response.faults(0).index(), 1);
  EXPECT_THAT(response.faults(0).message(), HasSubstr("no double-quoted text"));
  EXPECT_EQ(response.faults(1).index(), 3);
  request.set_scorer("jpeg_compressibility");
  ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::CheckPrompts, request, response).ok());
  EXPECT_EQ(response.faults_size(), 0);
  request.set_scorer("telepathy");
  EXPECT_TRUE(absl::IsNotFound(Call(*stub, &v1::RewardService::Stub::CheckPrompts, request, response)));
}

TEST(RewardServerProcessTest, TooManyOptionsAreRefusedAndStopNoStart) {
  const TempFolder folder;
  v1::LoadScorerRequest request;
  request.set_kind("ocr");
  (*request.mutable_options())["tessdata"] = std::string(1 << 20, 'x');
  const std::string remembered = folder.Write(
      "scorers.jsonl", absl::StrCat("{\"kind\": \"ocr\", \"options\": {\"tessdata\": \"", std::string(1 << 20, 'x'),
                                    "\"}}\nno JSON\n{\"kind\": \"jpeg_compressibility\"}\n"));
  ServerProcess server({"--remember=" + remembered});
  const auto stub = server.WaitUntilServing();
  ASSERT_NE(stub, nullptr);
  v1::ListScorersResponse list;
  ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::ListScorers, v1::ListScorersRequest(), list).ok());
  ASSERT_EQ(list.scorers_size(), 1);
  EXPECT_EQ(list.scorers(0).name(), "jpeg_compressibility");
  EXPECT_THAT(server.log(), HasSubstr("scorers.jsonl:2: not a scorer"));
  EXPECT_THAT(server.log(), HasSubstr("1 options of 1048584 bytes"));
  v1::LoadScorerResponse response;
  EXPECT_TRUE(absl::IsInvalidArgument(Call(*stub, &v1::RewardService::Stub::LoadScorer, request, response)));
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
