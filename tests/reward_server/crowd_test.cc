// Many clients at once, and such as behave badly: a real process, a connection each.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/tensor/image.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "gtest/gtest.h"
#include "tests/reward_server/server_process.h"

namespace flowawr {
namespace {

size_t ResidentMebibytes(pid_t pid) {
  std::ifstream statm(absl::StrCat("/proc/", pid, "/statm"));
  size_t pages = 0;
  statm >> pages >> pages;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE)) >> 20;
}

size_t Threads(pid_t pid) {
  size_t threads = 0;
  for ([[maybe_unused]] const auto& thread : std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/task")))
    ++threads;
  return threads;
}

Image RandomImage(int side, uint32_t seed) {
  std::mt19937 random(seed);
  Image image = Plain(side, side);
  for (char& byte : image.rgb) byte = static_cast<char>(random() % (seed % 200 + 2));
  return image;
}

// A client with a connection and a call of its own.
struct Client {
  Client(const std::string& endpoint, const v1::ScoreRequest& request, grpc::CompletionQueue& queue) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel = grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
    context = MakeContext(kPatience, Network());
    context->set_wait_for_ready(true);
    reader = v1::RewardService::NewStub(channel)->PrepareAsyncScore(context.get(), request, &queue);
    reader->StartCall();
  }
  void Read() { reader->Finish(&response, &status, this); }

  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::ScoreResponse>> reader;
  v1::ScoreResponse response;
  grpc::Status status;
};

void AwaitAnswers(grpc::CompletionQueue& queue, size_t count) {
  void* tag = nullptr;
  bool is_ok = false;
  for (size_t i = 0; i < count; ++i)
    ASSERT_EQ(queue.AsyncNext(&tag, &is_ok, absl::ToChronoTime(absl::Now() + kPatience)),
              grpc::CompletionQueue::GOT_EVENT);
}

std::string BytesOf(const Image& image) {
  const auto jpeg = EncodeJpeg(image, 95);
  return absl::StrCat(jpeg.ok() ? jpeg->size() : 0);
}

// A thousand connections, each with pictures of its own; every seventh goes before its answer.
TEST(RewardServerCrowdTest, AnswersAThousandClientsAtOnceEachWithWhatItAsked) {
  constexpr int kClients = 1000;
  ServerProcess server({"--scorer=jpeg_compressibility,queue=5000"});
  ASSERT_NE(server.WaitUntilServing(), nullptr);
  const size_t before = ResidentMebibytes(server.pid());
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < kClients; ++i) {
    v1::ScoreRequest request = ScoreRequestFor("jpeg_compressibility", {});
    for (int k = 0; k < 3; ++k) *request.add_items() = MakeItem(RandomImage(32, 3 * i + k), "");
    clients.push_back(std::make_unique<Client>(server.endpoint(), request, queue));
    clients.back()->Read();
    if (i % 7 == 3) clients.back()->context->TryCancel();
  }
  AwaitAnswers(queue, kClients);
  for (int i = 0; i < kClients; ++i) {
    const Client& client = *clients[i];
    if (i % 7 == 3 && client.status.error_code() == grpc::StatusCode::CANCELLED) continue;
    ASSERT_TRUE(client.status.ok()) << i << ": " << client.status.error_message();
    ASSERT_EQ(client.response.results_size(), 3);
    for (int k = 0; k < 3; ++k)
      EXPECT_EQ(client.response.results(k).details().at("bytes"), BytesOf(RandomImage(32, 3 * i + k))) << i;
  }
  EXPECT_LT(Threads(server.pid()), 100) << "no thread a client";
  EXPECT_LT(ResidentMebibytes(server.pid()), before + 250);
}

// Answers of about 150 KB that nobody takes from the connection, and connections that break in the middle of a request.
TEST(RewardServerCrowdTest, ServesOthersBesideSlowReadersAndBrokenStreams) {
  ServerProcess server({"--scorer=jpeg_compressibility,queue=500000"});
  const auto stub = server.WaitUntilServing();
  ASSERT_NE(stub, nullptr);
  v1::ScoreRequest large = ScoreRequestFor("jpeg_compressibility", {});
  for (int i = 0; i < 4096; ++i) *large.add_items() = MakeItem(Plain(1, 1), "");
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<Client>> slow;
  for (int i = 0; i < 20; ++i) slow.push_back(std::make_unique<Client>(server.endpoint(), large, queue));
  for (int i = 0; i < 20; ++i) {
    Client broken(server.endpoint(), large, queue);
    broken.context->TryCancel();
    broken.Read();
    AwaitAnswers(queue, 1);
  }
  const v1::ScoreRequest small = ScoreRequestFor("jpeg_compressibility", {MakeItem(RandomImage(32, 5), "")});
  for (int i = 0; i < 50; ++i) {
    v1::ScoreResponse response;
    ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::Score, small, response).ok());
    EXPECT_EQ(response.results(0).details().at("bytes"), BytesOf(RandomImage(32, 5)));
  }
  for (const auto& client : slow) client->Read();
  AwaitAnswers(queue, slow.size());
  for (const auto& client : slow) {
    ASSERT_TRUE(client->status.ok()) << client->status.error_message();
    EXPECT_EQ(client->response.results_size(), 4096);
  }
}

// 64 requests of 3 MiB while the only thread is busy: what the server holds is bounded, the rest is refused at once.
TEST(RewardServerCrowdTest, HoldsNoMoreThanItMay) {
  ServerProcess server({"--scorer=ocr,threads=1", "--max-image-seconds=3600", "--max-pending-mib=32"});
  const auto stub = server.WaitUntilServing();
  ASSERT_NE(stub, nullptr);
  grpc::CompletionQueue queue;
  Client at_work(server.endpoint(), ScoreRequestFor("ocr", {Noise()}), queue);
  at_work.Read();
  v1::ListScorersResponse list;
  while (!list.scorers_size() || !list.scorers(0).has_seconds_since_use())
    ASSERT_TRUE(Call(*stub, &v1::RewardService::Stub::ListScorers, v1::ListScorersRequest(), list).ok());
  const size_t before = ResidentMebibytes(server.pid());
  const v1::ScoreRequest request = ScoreRequestFor("ocr", {MakeItem(Plain(1024, 1024), "\"CAT\"")});
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 64; ++i) {
    clients.push_back(std::make_unique<Client>(server.endpoint(), request, queue));
    clients.back()->Read();
  }
  // All but those that wait have an answer.
  void* tag = nullptr;
  bool is_ok = false;
  int refused = 0;
  while (refused < 55 && queue.AsyncNext(&tag, &is_ok, absl::ToChronoTime(absl::Now() + kPatience)) ==
                             grpc::CompletionQueue::GOT_EVENT) {
    const Client& client = *static_cast<Client*>(tag);
    EXPECT_EQ(client.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << client.status.error_message();
    EXPECT_EQ(client.context->GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 1);
    ++refused;
  }
  EXPECT_EQ(refused, 55);
  EXPECT_LT(ResidentMebibytes(server.pid()), before + 300);
  for (const auto& client : clients) client->context->TryCancel();
  at_work.context->TryCancel();
  AwaitAnswers(queue, 64 + 1 - static_cast<size_t>(refused));
}

}  // namespace
}  // namespace flowawr
