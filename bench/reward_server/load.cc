// Load for a reward server: closed (a number of clients, each with its next call when the last is answered) or open
// (calls at a rate, whatever the answers do). Prints one line of JSON.
//
// In open load a call's time counts from when it was due, not from when it could be sent: a server that falls behind
// shows it.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/file.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "common/tensor/image.h"
#include "flowawr/v1/reward.grpc.pb.h"
#include "grpcpp/alarm.h"

namespace flowawr {
namespace {

struct Load {
  std::string server, scorer, folder;
  int side = 64, images = 8, clients = 4;
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

// The PNGs of the folder, whose names are the words that they show; else one grey picture.
std::vector<v1::ScoreItem> ItemsOf(const Load& load) {
  std::vector<v1::ScoreItem> items;
  const auto add = [&items](const Image& image, const std::string& word) {
    v1::ScoreItem& item = items.emplace_back();
    item.set_height(static_cast<uint32_t>(image.height));
    item.set_width(static_cast<uint32_t>(image.width));
    item.set_image_rgb(image.rgb);
    item.set_prompt(absl::StrCat("a sign that says \"", word, "\""));
  };
  if (load.folder.empty()) {
    add({load.side, load.side, std::string(static_cast<size_t>(3 * load.side * load.side), '\x7f')}, "A");
    return items;
  }
  for (const auto& file : std::filesystem::directory_iterator(load.folder)) {
    const auto bytes = ReadFile(file.path().string());
    const auto image = bytes.ok() ? DecodePng(*bytes) : bytes.status();
    if (image.ok()) add(*image, file.path().stem().string());
  }
  return items;
}

double Quantile(std::vector<double>& sorted, double q) {
  return sorted.empty() ? 0 : sorted[std::min(sorted.size() - 1, static_cast<size_t>(q * sorted.size()))];
}

int Run(const Load& load) {
  const std::vector<v1::ScoreItem> items = ItemsOf(load);
  std::vector<std::unique_ptr<v1::RewardService::Stub>> stubs;
  for (int i = 0; i < std::min(load.clients, 16); ++i)
    stubs.push_back(v1::RewardService::NewStub(MakeChannel(load.server, Network()).value()));
  size_t next_item = 0;
  grpc::CompletionQueue queue;
  std::vector<double> latencies;
  size_t sent = 0, under_way = 0, refused = 0;
  double rewards = 0;
  const auto send = [&](absl::Time due) {
    auto call = std::make_unique<Call>();
    call->due = due;
    call->context = MakeContext(absl::Minutes(2), Network());
    v1::ScoreRequest request;
    request.set_scorer(load.scorer);
    for (int i = 0; i < load.images; ++i) *request.add_items() = items[next_item++ % items.size()];
    call->reader = stubs[sent % stubs.size()]->AsyncScore(call->context.get(), request, &queue);
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
  flowawr::Load load;
  CLI::App app("Load for a reward server.");
  app.add_option("--server", load.server, "HOST:PORT")->required();
  app.add_option("--scorer", load.scorer, "its name")->required();
  app.add_option("--folder", load.folder, "PNGs that show the words that they are named after; else one grey picture");
  app.add_option("--side", load.side, "pixels of the grey picture")->capture_default_str();
  app.add_option("--images", load.images, "of a call")->capture_default_str();
  app.add_option("--clients", load.clients, "of closed load, at most 16 connections")->capture_default_str();
  app.add_option("--rate", load.rate, "calls a second of open load (Poisson); 0: closed")->capture_default_str();
  app.add_option("--seconds", load.seconds, "how long")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return flowawr::Run(load);
}
