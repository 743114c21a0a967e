#include "actor/actor_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using State = CircuitBreaker::State;

class ActorMetricsTest : public ::testing::Test {
 protected:
  std::string Page() const { return prometheus::TextSerializer().Serialize(registry_.Collect()); }

  prometheus::Registry registry_;
  ActorMetrics metrics_{registry_};
};

TEST_F(ActorMetricsTest, BeginsEveryCounterAtZero) {
  const std::string page = Page();
  for (const char* line : {"flowawr_actor_stage_seconds_total{stage=\"idle\"} 0\n",
                           "flowawr_actor_samples_total{purpose=\"evaluation\"} 0\n",
                           "flowawr_actor_lost_groups_total{cause=\"reward_failed\"} 0\n",
                           "flowawr_actor_retries_total{what=\"score\"} 0\n"})
    EXPECT_THAT(page, HasSubstr(line));
}

TEST_F(ActorMetricsTest, StageSecondsNeverFall) {
  metrics_.SetStageSeconds({{"sample", 3}});
  metrics_.SetStageSeconds({{"sample", 2.5}});
  EXPECT_THAT(Page(), HasSubstr("flowawr_actor_stage_seconds_total{stage=\"sample\"} 3\n"));
  metrics_.SetStageSeconds({{"sample", 4}});
  EXPECT_THAT(Page(), HasSubstr("flowawr_actor_stage_seconds_total{stage=\"sample\"} 4\n"));
  EXPECT_THAT(Page(), HasSubstr("# TYPE flowawr_actor_stage_seconds_total counter"));
}

TEST_F(ActorMetricsTest, ShowsOneStateOfEachBreakerAndNoServersOfThePast) {
  metrics_.SetScoring({{"h:1", State::kOpen, 0}, {"h:2", State::kClosed, 3}}, 5);
  EXPECT_THAT(Page(), HasSubstr("flowawr_actor_reward_breaker{endpoint=\"h:1\",state=\"open\"} 1\n"));
  EXPECT_THAT(Page(), HasSubstr("flowawr_actor_reward_breaker{endpoint=\"h:1\",state=\"closed\"} 0\n"));
  EXPECT_THAT(Page(), HasSubstr("flowawr_actor_reward_calls{endpoint=\"h:2\"} 3\n"));
  EXPECT_THAT(Page(), HasSubstr("flowawr_actor_retries_total{what=\"score\"} 5\n"));
  metrics_.SetScoring({{"h:1", State::kHalfOpen, 1}}, 6);
  EXPECT_THAT(Page(), HasSubstr("flowawr_actor_reward_breaker{endpoint=\"h:1\",state=\"open\"} 0\n"));
  EXPECT_THAT(Page(), HasSubstr("flowawr_actor_reward_breaker{endpoint=\"h:1\",state=\"half_open\"} 1\n"));
  EXPECT_THAT(Page(), Not(HasSubstr("h:2")));
}

}  // namespace
}  // namespace flowawr
