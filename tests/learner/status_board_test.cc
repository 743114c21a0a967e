#include "learner/status_board.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <string>

#include "tests/learner/small_run.h"

namespace flowawr {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;

class StatusBoardTest : public testing::Test {
 protected:
  ManualClock clock_;
  StatusBoard board_{&clock_};
};

// What a source shows, which tells of its changes with its own lock held, as LeaseDesk does.
class Counter final : public StatusSource {
 public:
  explicit Counter(StatusBoard& board) : board_(board) { board_.Show(*this); }
  ~Counter() override { board_.Hide(*this); }
  void Count() {
    absl::MutexLock lock(&mutex_);
    ++count_;
    board_.Touch();
  }
  void AddTo(v1::Status& status) const override {
    absl::MutexLock lock(&mutex_);
    status.set_open_leases(count_);
  }

 private:
  StatusBoard& board_;
  mutable absl::Mutex mutex_;
  uint32_t count_ ABSL_GUARDED_BY(mutex_) = 0;
};

TEST_F(StatusBoardTest, AgesOfUpdateAndCheckpointGrowFromWhenTheyWereMade) {
  EXPECT_FALSE(board_.status().has_update_age_s());
  board_.Update([](v1::Status& status) { status.set_update_age_s(0); });
  clock_.Advance(absl::Seconds(7));
  board_.Update([](v1::Status& status) { status.set_checkpoint_age_s(0); });
  clock_.Advance(absl::Seconds(2));
  EXPECT_THAT(board_.status().update_age_s(), DoubleEq(9));
  EXPECT_THAT(board_.status().checkpoint_age_s(), DoubleEq(2));
  board_.Update([](v1::Status& status) { status.set_update_age_s(0); });
  EXPECT_THAT(board_.status().update_age_s(), DoubleEq(0));
}

TEST_F(StatusBoardTest, AWatchWaitsForAChange) {
  uint64_t seen = 0;
  AwaitStatus(board_, &seen, absl::InfiniteDuration());
  auto waiting =
      std::async(std::launch::async, [this, &seen] { return AwaitStatus(board_, &seen, absl::InfiniteDuration()); });
  board_.Update([](v1::Status& status) { status.set_update(3); });
  EXPECT_EQ(waiting.get().update(), 3u);
}

TEST_F(StatusBoardTest, AWatchHearsOfChangesOfASource) {
  Counter counter(board_);
  uint64_t seen = 0;
  EXPECT_EQ(AwaitStatus(board_, &seen, absl::InfiniteDuration()).open_leases(), 0u);
  for (uint32_t count = 1; count <= 100; ++count) {
    auto waiting =
        std::async(std::launch::async, [this, &seen] { return AwaitStatus(board_, &seen, absl::InfiniteDuration()); });
    counter.Count();
    EXPECT_EQ(waiting.get().open_leases(), count);
  }
}

TEST_F(StatusBoardTest, ShowsNothingOfASourceThatIsGone) {
  {
    Counter counter(board_);
    counter.Count();
    EXPECT_EQ(board_.status().open_leases(), 1u);
  }
  EXPECT_EQ(board_.status().open_leases(), 0u);
}

TEST_F(StatusBoardTest, AWatchIsAnsweredAtTheLatestAtItsTime) {
  uint64_t seen = 0;
  AwaitStatus(board_, &seen, absl::InfiniteDuration());
  const uint64_t before = seen;
  AwaitStatus(board_, &seen, absl::Milliseconds(5));
  EXPECT_EQ(seen, before);
}

TEST_F(StatusBoardTest, AWatchEndsWithTheLastStatusWhenTheBoardStops) {
  board_.Update([](v1::Status& status) { status.set_phase(v1::FINISHED); });
  uint64_t seen = 0;
  AwaitStatus(board_, &seen, absl::InfiniteDuration());
  std::promise<StatusBoard::Seen> last;
  board_.AwaitStatus(seen, absl::InfinitePast(), absl::InfiniteFuture(),
                     [&](absl::StatusOr<StatusBoard::Seen> given) { last.set_value(*std::move(given)); });
  board_.Stop();
  const StatusBoard::Seen given = last.get_future().get();
  EXPECT_TRUE(given.is_last);
  EXPECT_EQ(given.status->phase(), v1::FINISHED);
}

TEST_F(StatusBoardTest, AWaitThatIsCancelledIsToldSo) {
  absl::Status ended;
  const WaitTicket ticket =
      board_.AwaitStatus(0, absl::InfiniteFuture(), absl::InfiniteFuture(), [&](auto given) { ended = given.status(); });
  board_.CancelWait(ticket);
  EXPECT_EQ(ended.code(), absl::StatusCode::kCancelled);
}

TEST_F(StatusBoardTest, WarningsOfASourceStandUntilItSaysOthers) {
  board_.Update([](v1::Status& status) { status.add_warnings("of the run"); });
  board_.SetStandingWarnings("copies", {"no room"});
  board_.SetStandingWarnings("scorers", {"ocr is gone"});
  EXPECT_THAT(board_.status().warnings(), ElementsAre("of the run", "no room", "ocr is gone"));
  board_.Update([](v1::Status& status) { status.clear_warnings(); });
  board_.SetStandingWarnings("copies", {});
  EXPECT_THAT(board_.status().warnings(), ElementsAre("ocr is gone"));
}

}  // namespace
}  // namespace flowawr
