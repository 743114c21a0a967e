#include "actor/session.h"

#include <gtest/gtest.h>

namespace flowawr {
namespace {

TEST(Session, IsNotLiveBeforeTheFirstRegistration) {
  Session session;
  EXPECT_FALSE(session.is_live());
  EXPECT_FALSE(session.AwaitLive(absl::ZeroDuration()));
}

TEST(Session, EndsWhenItsConnectionIsLost) {
  Session session;
  session.Begin();
  EXPECT_TRUE(session.AwaitLive(absl::ZeroDuration()));
  session.Lose(session.number());
  EXPECT_FALSE(session.is_live());
}

TEST(Session, OutlivesLateNewsOfAnEarlierLoss) {
  Session session;
  session.Begin();
  const uint64_t first = session.number();
  session.Lose(first);
  session.Begin();
  session.Lose(first);
  EXPECT_TRUE(session.is_live());
}

}  // namespace
}  // namespace flowawr
