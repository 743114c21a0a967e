// The server as users run it: a real process, real gRPC, signals.
#include <signal.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/file.h"
#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "tests/reward_server/server_process.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

// Process ids of its OCR readers. Proc lists only what a thread of the process has started.
std::vector<std::string> ReadersOf(pid_t server) {
  std::vector<std::string> readers;
  for (const auto& thread : std::filesystem::directory_iterator(absl::StrCat("/proc/", server, "/task"))) {
    std::ifstream children(thread.path() / "children");
    for (std::string pid; children >> pid;) readers.push_back(pid);
  }
  return readers;
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

// The health service's answer on the wire for a scorer of that name: {status: SERVING} is "\x08\x01"; empty: NOT_FOUND.
std::string HealthOf(const std::string& endpoint, const std::string& scorer) {
  const std::string part = absl::StrCat("flowawr.scorer.", scorer);
  const std::string request = absl::StrCat("\x0a", std::string(1, static_cast<char>(part.size())), part);
  grpc::GenericStub stub(MakeChannel(endpoint, Network()).value());
  grpc::CompletionQueue queue;
  const auto context = MakeContext(kPatience, Network());
  const grpc::Slice slice(request);
  const auto call =
      stub.PrepareUnaryCall(context.get(), "/grpc.health.v1.Health/Check", grpc::ByteBuffer(&slice, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool is_ok = false;
  queue.Next(&tag, &is_ok);
  std::vector<grpc::Slice> slices;
  std::string answer;
  if (status.ok() && response.Dump(&slices).ok())
    for (const grpc::Slice& part_of : slices) answer.append(part_of.begin(), part_of.end());
  return answer;
}

TEST(RewardServerProcessTest, TellsTheHealthOfEachScorer) {
  ServerProcess server({"--scorer=jpeg_compressibility"});
  const auto stub = server.WaitUntilServing();
  ASSERT_NE(stub, nullptr);
  EXPECT_EQ(HealthOf(server.endpoint(), "jpeg_compressibility"), "\x08\x01");
  EXPECT_EQ(HealthOf(server.endpoint(), "second"), "");
  ASSERT_TRUE(Load(*stub, "second", "jpeg_compressibility").ok());
  EXPECT_EQ(HealthOf(server.endpoint(), "second"), "\x08\x01");
  ASSERT_TRUE(Unload(*stub, "second").ok());
  EXPECT_EQ(HealthOf(server.endpoint(), "second"), "\x08\x02");
}

TEST(RewardServerProcessTest, ReplacesAScorerUnderLoadAndRemembersIt) {
  const TempFolder folder;
  const std::vector<std::string> arguments = {"--scorer=size=jpeg_compressibility,scale=1",
                                              "--remember=" + folder.path() + "/scorers.jsonl"};
  const auto scale_of = [](v1::RewardService::Stub& stub) {
    v1::ListScorersResponse list;
    EXPECT_TRUE(Call(stub, &v1::RewardService::Stub::ListScorers, v1::ListScorersRequest(), list).ok());
    return list.scorers_size() == 1 ? list.scorers(0).options().at("scale") : "";
  };
  {
    ServerProcess server(arguments);
    const auto stub = server.WaitUntilServing();
    ASSERT_NE(stub, nullptr);
    const v1::ScoreRequest request =
        ScoreRequestFor("size", std::vector<v1::ScoreItem>(50, MakeItem(Plain(64, 64), "x")));
    std::atomic<bool> is_over = false;
    std::atomic<int> answered = 0;
    std::vector<std::thread> clients;
    for (int i = 0; i < 4; ++i) {
      clients.emplace_back([&] {
        while (!is_over) {
          v1::ScoreResponse response;
          const absl::Status status = Call(*stub, &v1::RewardService::Stub::Score, request, response);
          ASSERT_TRUE(status.ok()) << status;
          ASSERT_EQ(response.results_size(), 50);
          for (const v1::ScoreResult& result : response.results())
            EXPECT_EQ(result.reward(), response.results(0).reward()) << "one answer of two scorers";
          ++answered;
        }
      });
    }
    for (int round = 2; round <= 20; ++round) {
      const int before = answered;
      v1::LoadScorerRequest reload;
      reload.set_name("size");
      (*reload.mutable_options())["scale"] = absl::StrCat(round);
      v1::LoadScorerResponse response;
      EXPECT_TRUE(Call(*stub, &v1::RewardService::Stub::ReloadScorer, reload, response).ok());
      EXPECT_EQ(response.scorer().kind(), "jpeg_compressibility");
      while (answered == before) std::this_thread::yield();
    }
    is_over = true;
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(scale_of(*stub), "20");
    server.Signal(SIGKILL);
    server.Wait();
  }
  ServerProcess next(arguments);
  const auto stub = next.WaitUntilServing();
  ASSERT_NE(stub, nullptr);
  EXPECT_EQ(scale_of(*stub), "20") << "what it was replaced with, not what the command line says";
}

TEST(RewardServerProcessTest, SaysWhenToComeAgainWhenNothingFindsRoom) {
  ServerProcess server({"--scorer=ocr,threads=1,queue=1", "--max-image-seconds=3600"});
  const auto stub = server.WaitUntilServing();
  ASSERT_NE(stub, nullptr);
  const v1::ScoreRequest word = ScoreRequestFor("ocr", DrawWords({"CAT"}));
  v1::ScoreResponse response;
  ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::Score, word, response).ok());  // now it knows how long one takes
  const auto in_background = [&](const v1::ScoreRequest& request) {
    return std::thread([&stub, request] {
      v1::ScoreResponse response;
      Call(*stub, &v1::RewardService::Stub::Score, request, response, absl::Seconds(5)).IgnoreError();
    });
  };
  const auto wait_until = [&](auto condition) {
    v1::ListScorersResponse list;
    do {
      list.Clear();
      ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::ListScorers, v1::ListScorersRequest(), list).ok());
    } while (!condition(list.scorers(0)));
  };
  std::thread at_work = in_background(ScoreRequestFor("ocr", {Noise()}));
  wait_until([](const v1::ScorerInfo& info) { return info.queued_images() == 0 && info.seconds_since_use() == 0; });
  std::thread waiting = in_background(word);
  wait_until([](const v1::ScorerInfo& info) { return info.queued_images() == 1; });
  const auto context = MakeContext(kPatience, Network());
  const absl::Status status = FromGrpc(stub->Score(context.get(), word, &response));
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  const auto& metadata = context->GetServerTrailingMetadata();
  const auto pushback = metadata.find("grpc-retry-pushback-ms");
  ASSERT_NE(pushback, metadata.end());
  EXPECT_GT(std::atoi(std::string(pushback->second.begin(), pushback->second.end()).c_str()), 0);
  at_work.join();
  waiting.join();
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
