#include "learner/ranks/meeting_point.h"

#include <sys/socket.h>

#include <chrono>
#include <utility>
#include <vector>

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/types.h>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "common/base/listen.h"
#include "common/base/status.h"
#include "learner/ranks/c10d_errors.h"
#include "learner/ranks/gloo_link.h"
#include "learner/ranks/meeting_store.h"
#include "learner/ranks/nccl.h"

namespace flowawr {
namespace {

constexpr absl::Duration kStoreLimit = absl::Seconds(30);  // rank 0's store answers at once, or is gone
constexpr size_t kMostHelloBytes = 1 << 20;
constexpr char kHellos[] = "hellos";  // a queue

std::chrono::milliseconds Milliseconds(absl::Duration duration) { return absl::ToChronoMilliseconds(duration); }

std::vector<uint8_t> Bytes(const std::string& text) { return {text.begin(), text.end()}; }
std::string Text(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

class StoreMeetingPoint final : public MeetingPoint {
 public:
  // `server`: rank 0's; null for others.
  StoreMeetingPoint(c10::intrusive_ptr<c10d::Store> store, HostPort address, std::unique_ptr<StoreServer> server)
      : server_(std::move(server)), store_(std::move(store)), address_(std::move(address)) {
    store_->setTimeout(Milliseconds(kStoreLimit));
  }

  HostPort address() const override { return address_; }

  absl::Status SayHello(const std::string& text) override {
    return Store([&] { store_->queuePush(kHellos, Bytes(text)); });
  }

  absl::StatusOr<std::optional<std::string>> NextHello() override {
    std::optional<std::string> text;
    FLOWAWR_RETURN_IF_ERROR(Store([&] {
      if (store_->queueLen(kHellos) > 0) text = Text(store_->queuePop(kHellos, /*block=*/false));
    }));
    if (text && text->size() > kMostHelloBytes)
      return absl::InvalidArgumentError(absl::StrCat("a hello of ", text->size(), " bytes is no rank's"));
    return text;
  }

  absl::Status Answer(const std::string& session, const std::string& text) override {
    return Store([&] { store_->set(AnswerKey(session), Bytes(text)); });
  }

  absl::StatusOr<std::string> AwaitAnswer(const std::string& session, absl::Duration limit) override {
    const std::string key = AnswerKey(session);
    std::string answer;
    FLOWAWR_RETURN_IF_ERROR(WithoutExceptions("waiting for rank 0's answer", limit,
                                              [&] { store_->wait({key}, Milliseconds(limit)); }));
    FLOWAWR_RETURN_IF_ERROR(Store([&] {
      answer = Text(store_->get(key));
      store_->deleteKey(key);
    }));
    return answer;
  }

  absl::StatusOr<std::unique_ptr<RankLink>> Link(const std::string& session, bool is_rank0, const std::string& host,
                                                 absl::Duration limit, std::optional<at::Device> nccl_device) override {
    std::unique_ptr<DeviceLine> line;
    if (nccl_device) {
      const c10::intrusive_ptr<c10d::Store> store = StoreOf("nccl", session);
      FLOWAWR_ASSIGN_OR_RETURN(line, MakeNcclLine(store, is_rank0 ? 0 : 1, *nccl_device));
    }
    std::unique_ptr<RankLink> link;
    FLOWAWR_RETURN_IF_ERROR(WithoutExceptions("linking ranks", limit, [&] {
      const auto options = c10d::ProcessGroupGloo::Options::create(Milliseconds(limit));
      options->devices = {c10d::ProcessGroupGloo::createDeviceForHostname(host)};
      options->threads = 1;  // of collectives, of which there are none
      auto group = c10::make_intrusive<c10d::ProcessGroupGloo>(StoreOf("link", session), is_rank0 ? 0 : 1, 2, options);
      link = std::make_unique<GlooLink>(std::move(group), is_rank0 ? 1 : 0, std::move(line));
    }));
    return link;
  }

 private:
  static std::string AnswerKey(const std::string& session) { return absl::StrCat("answer/", session); }

  c10::intrusive_ptr<c10d::Store> StoreOf(const char* use, const std::string& session) const {
    return c10::make_intrusive<c10d::PrefixStore>(absl::StrCat(use, "/", session), store_);
  }

  static absl::Status Store(absl::FunctionRef<void()> call) {
    return WithoutExceptions("rank 0's store", absl::InfiniteDuration(), call);
  }

  const std::unique_ptr<StoreServer> server_;
  const c10::intrusive_ptr<c10d::Store> store_;
  const HostPort address_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MeetingPoint>> MeetingPoint::Serve(const HostPort& listen, RankTokens tokens) {
  const absl::StatusOr<int> listening = Listen(listen, SOMAXCONN);
  if (!listening.ok()) return Annotate(listening.status(), absl::StrCat("network.ranks_listen: ", listen.ToString()));
  const HostPort address{listen.host, BoundTo(*listening).port};
  auto server = std::make_unique<StoreServer>(*listening, std::move(tokens));
  auto store = server->store();
  return std::make_unique<StoreMeetingPoint>(std::move(store), address, std::move(server));
}

absl::StatusOr<std::unique_ptr<MeetingPoint>> MeetingPoint::Reach(const HostPort& rank0, const RankTokens& tokens,
                                                                  absl::Duration limit) {
  absl::StatusOr<c10::intrusive_ptr<c10d::Store>> store = ReachStore(rank0, tokens, limit);
  if (store.ok()) return std::make_unique<StoreMeetingPoint>(*std::move(store), rank0, nullptr);
  if (!absl::IsDeadlineExceeded(store.status())) return store.status();
  return absl::UnavailableError(absl::StrCat("rank 0 does not answer at ", rank0.ToString(), " within ",
                                             absl::FormatDuration(limit), ": is it running, with train.ranks above 1?"));
}

}  // namespace flowawr
