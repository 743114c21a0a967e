// Load for a reward server, of a folder's pictures: closed (a number of clients, each with its next call when the last
// is answered) or open (calls at a rate, whatever the answers do). Prints one line of JSON.
//
// In open load a call's time counts from when it was due, not from when it could be sent: a server that falls behind
// shows it.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/allocator.h"
#include "common/base/file.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "common/scoring/score_message.h"
#include "common/tensor/image.h"
#include "grpcpp/alarm.h"

namespace flowawr {
namespace {

struct Load {
  std::string server, scorer, folder;
  int images = 8, clients = 4;
  double seconds = 5, rate = 0;  // rate 0: closed
};

struct Call {
  absl::Time due;
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::ScoreResponse>> reader;
  v1::ScoreResponse response;
  grpc::Status status;
};

v1::NetworkConfig Network() {
  v1::NetworkConfig network;
  network.set_max_message_mib(64);
  return network;
}

// What is asked of a picture, and its pixels.
struct Item {
  v1::ScoreItem item;
  std::string rgb;
};

// The PNGs of the folder, whose names are the words that they show.
std::vector<Item> ItemsOf(const std::string& folder) {
  std::vector<Item> items;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    const auto bytes = ReadFile(file.path().string());
    const auto image = bytes.ok() ? DecodePng(*bytes) : bytes.status();
    if (!image.ok()) continue;
    v1::ScoreItem& item = items.emplace_back(Item{{}, image->rgb}).item;
    item.set_height(static_cast<uint32_t>(image->height));
    item.set_width(static_cast<uint32_t>(image->width));
    item.set_prompt(absl::StrCat("a sign that says \"", file.path().stem().string(), "\""));
  }
  return items;
}

// A picture that was not sent before, as CLIP scorers remember pictures, made small, for a while: `number` in 32 blocks
// along its upper edge. Words, which are small pictures, stay as they are.
grpc::Slice NewPixels(const Item& item, uint32_t number) {
  constexpr uint32_t kBlock = 16;
  grpc::Slice pixels(item.rgb);
  const uint32_t width = item.item.width();
  if (width < 32 * kBlock) return pixels;
  auto* const rgb = const_cast<uint8_t*>(pixels.begin());  // nobody else has it yet
  for (uint32_t y = 0; y < kBlock; ++y)
    for (uint32_t i = 0; i < 3 * 32 * kBlock; ++i)
      if ((number >> i / (3 * kBlock) & 1) != 0) rgb[3 * width * y + i] ^= 0x80;
  return pixels;
}

double Quantile(std::vector<double>& sorted, double q) {
  return sorted.empty() ? 0 : sorted[std::min(sorted.size() - 1, static_cast<size_t>(q * sorted.size()))];
}

int Run(const Load& load) {
  const std::vector<Item> items = ItemsOf(load.folder);
  std::vector<std::unique_ptr<ScoreStub>> stubs;
  for (int i = 0; i < std::min(load.clients, 16); ++i)
    stubs.push_back(std::make_unique<ScoreStub>(MakeChannel(load.server, Network()).value()));
  size_t next_item = 0;
  uint32_t number = std::random_device()();  // another load of this server began elsewhere
  grpc::CompletionQueue queue;
  std::vector<double> latencies;
  size_t sent = 0, under_way = 0, refused = 0;
  double rewards = 0;
  const auto send = [&](absl::Time due) {
    auto call = std::make_unique<Call>();
    call->due = due;
    call->context = MakeContext(absl::Minutes(2), Network());
    std::vector<v1::ScoreItem> asked;
    std::vector<grpc::Slice> pixels;
    for (int i = 0; i < load.images; ++i, ++next_item) {
      asked.push_back(items[next_item % items.size()].item);
      pixels.push_back(NewPixels(items[next_item % items.size()], number++));
    }
    call->reader = stubs[sent % stubs.size()]->PrepareUnaryCall(call->context.get(), ScoreMethod(),
                                                                ScoreMessage(load.scorer, asked, pixels), &queue);
    call->reader->StartCall();
    Call* const tag = call.release();
    tag->reader->Finish(&tag->response, &tag->status, tag);
    ++sent;
    ++under_way;
  };
  const absl::Time start = absl::Now(), end = start + absl::Seconds(load.seconds);
  std::mt19937_64 random(1);
  std::exponential_distribution<double> gap(load.rate > 0 ? load.rate : 1);
  absl::Time due = start;
  if (load.rate == 0)
    for (int i = 0; i < load.clients; ++i) send(start);
  while (under_way > 0 || absl::Now() < end) {
    while (load.rate > 0 && due <= absl::Now() && due < end) {
      send(due);
      due += absl::Seconds(gap(random));
    }
    if (load.rate > 0 && due >= end && under_way == 0) break;
    void* tag = nullptr;
    bool is_ok = false;
    const absl::Time until = load.rate > 0 && due < end ? due : absl::Now() + absl::Seconds(1);
    if (queue.AsyncNext(&tag, &is_ok, absl::ToChronoTime(until)) != grpc::CompletionQueue::GOT_EVENT) continue;
    const std::unique_ptr<Call> call(static_cast<Call*>(tag));
    --under_way;
    if (call->status.ok()) {
      latencies.push_back(absl::ToDoubleSeconds(absl::Now() - call->due));
      for (const v1::ScoreResult& result : call->response.results()) rewards += result.reward();
    } else {
      ++refused;
    }
    if (load.rate == 0 && absl::Now() < end) send(absl::Now());
  }
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  std::sort(latencies.begin(), latencies.end());
  const double images = static_cast<double>(latencies.size()) * load.images;
  std::cout << nlohmann::json{{"images_per_s", images / seconds},
                              {"calls", latencies.size()},
                              {"failed", refused},
                              {"mean_reward", images > 0 ? rewards / images : 0},
                              {"mean_ms", 1000 * std::accumulate(latencies.begin(), latencies.end(), 0.0) /
                                              static_cast<double>(std::max<size_t>(latencies.size(), 1))},
                              {"p50_ms", 1000 * Quantile(latencies, .5)},
                              {"p90_ms", 1000 * Quantile(latencies, .9)},
                              {"p99_ms", 1000 * Quantile(latencies, .99)}}
                   .dump()
            << std::endl;
  return refused == 0 ? 0 : 1;
}

}  // namespace
}  // namespace flowawr

int main(int argc, char** argv) {
  flowawr::KeepFreedMemory();  // of the pictures that it copies for each call
  flowawr::Load load;
  CLI::App app("Load for a reward server.");
  app.add_option("--server", load.server, "HOST:PORT")->required();
  app.add_option("--scorer", load.scorer, "its name")->required();
  app.add_option("--folder", load.folder, "PNGs that show the words that they are named after")->required();
  app.add_option("--images", load.images, "of a call")->capture_default_str();
  app.add_option("--clients", load.clients, "of closed load, at most 16 connections")->capture_default_str();
  app.add_option("--rate", load.rate, "calls a second of open load (Poisson); 0: closed")->capture_default_str();
  app.add_option("--seconds", load.seconds, "how long")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return flowawr::Run(load);
}
