// How long an actor waits for a lease while an adapter of SD3.5 Medium's size is published:
//   ninja -C build/release flowawr_publish_bench && build/release/bin/flowawr_publish_bench
// One thread asks for a lease and hands it back, a thousand times a second, as many actors do; the other publishes.
// Prints the time of a publication and the longest that a lease took, beside the longest while nothing was published.
// Of a machine whose processors are all busy the numbers tell how it shares them out.
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "bench/medium_layout.h"
#include "common/base/clock.h"
#include "learner/lease_desk.h"
#include "learner/policy_shelf.h"
#include "learner/status_board.h"

namespace flowawr {
namespace {

constexpr int kPublications = 20;
constexpr absl::Duration kQuiet = absl::Seconds(5);
constexpr absl::Duration kBetweenLeases = absl::Milliseconds(1);

// Asks for a lease and hands it back; how long the answer took.
absl::Duration AskOnce(LeaseDesk& leases) {
  const absl::Time begun = MonotonicNow();
  v1::Lease lease;
  absl::Notification answered;
  leases.Acquire("a", absl::Seconds(10), [&](absl::StatusOr<v1::AcquireLeaseResponse> answer) {
    lease = answer.value().lease();
    answered.Notify();
  });
  answered.WaitForNotification();
  const absl::Duration took = MonotonicNow() - begun;
  v1::FailLeaseRequest back;
  back.set_actor_id("a");
  back.mutable_lease()->set_group_id(lease.group_id());
  back.mutable_lease()->set_attempt(lease.attempt());
  back.set_cause("actor_stopping");
  back.set_is_handed_back(true);
  leases.Fail(back).IgnoreError();
  return took;
}

int Run() {
  at::set_num_threads(1);
  StatusBoard board;
  PolicyShelf policies({});
  LeaseDesk::Options options;
  options.tell = [](bool, const std::string&) {};
  options.leases.timeout = absl::Minutes(1);
  LeaseDesk leases(std::move(options), &policies, &board);
  leases.Register("a", /*has_model=*/true);
  v1::Lease lease;
  lease.set_samples(2);
  leases.Offer({lease});
  LoraAdapter adapter = LoraAdapter::Initialise(MediumLayout(), 1);

  std::atomic<bool> is_publishing = false, is_done = false;
  absl::Duration longest_quiet = absl::ZeroDuration(), longest = absl::ZeroDuration();
  long asked = 0;
  std::thread actor([&] {
    while (!is_done) {
      const bool is_during = is_publishing;
      const absl::Duration took = AskOnce(leases);
      absl::Duration& worst = is_during ? longest : longest_quiet;
      worst = std::max(worst, took);
      asked += is_during;
      absl::SleepFor(kBetweenLeases);
    }
  });
  absl::SleepFor(kQuiet);
  const absl::Time begun = MonotonicNow();
  is_publishing = true;
  for (int i = 0; i < kPublications; ++i) policies.Publish(adapter, v1::BEHAVIOUR_POLICY, i).value();
  const absl::Duration published = (MonotonicNow() - begun) / kPublications;
  is_publishing = false;
  is_done = true;
  actor.join();
  std::printf("an adapter of %.1f MB is published in %.1f ms; %ld leases asked for meanwhile: the longest took %.2f ms "
              "(%.2f ms while nothing was published)\n",
              static_cast<double>(policies.newest_behaviour()->bytes.size()) / 1e6,
              absl::ToDoubleMilliseconds(published), asked, absl::ToDoubleMilliseconds(longest),
              absl::ToDoubleMilliseconds(longest_quiet));
  return 0;
}

}  // namespace
}  // namespace flowawr

int main() { return flowawr::Run(); }
