#include "common/scoring/circuit_breaker.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace flowawr {
namespace {

using State = CircuitBreaker::State;

constexpr CircuitBreaker::Options kOptions = {
    .failures_to_open = 2, .initial_pause = absl::Seconds(1), .max_pause = absl::Seconds(3)};

enum class Event { kAdmit, kAnswer, kFailure, kAbandoned };

struct Step {
  double at_s;
  Event event;
  State state_after;
  double admitted_from_s = -1;  // of kAdmit
};

struct Story {
  std::string name;
  std::vector<Step> steps;
};

class CircuitBreakerTest : public testing::TestWithParam<Story> {};

TEST_P(CircuitBreakerTest, FollowsTheTable) {
  CircuitBreaker breaker(kOptions);
  int index = 0;
  for (const Step& step : GetParam().steps) {
    SCOPED_TRACE(index++);
    const absl::Time now = absl::UnixEpoch() + absl::Seconds(step.at_s);
    switch (step.event) {
      case Event::kAdmit:
        EXPECT_EQ(breaker.Admit(now), absl::UnixEpoch() + absl::Seconds(step.admitted_from_s));
        break;
      case Event::kAnswer:
        breaker.OnAnswer();
        break;
      case Event::kFailure:
        breaker.OnFailure(now);
        break;
      case Event::kAbandoned:
        breaker.OnAbandoned(now);
        break;
    }
    EXPECT_EQ(breaker.state(), step.state_after);
  }
}

INSTANTIATE_TEST_SUITE_P(Stories, CircuitBreakerTest,
                         testing::ValuesIn(std::vector<Story>{
                             {"AnswersBetweenFailuresKeepItClosed",
                              {{0, Event::kAdmit, State::kClosed, 0},
                               {0, Event::kFailure, State::kClosed},
                               {1, Event::kAnswer, State::kClosed},
                               {2, Event::kFailure, State::kClosed},
                               {3, Event::kAdmit, State::kClosed, 3}}},
                             {"OpensAfterFailuresInARow",
                              {{0, Event::kFailure, State::kClosed},
                               {0, Event::kFailure, State::kOpen},
                               {0.5, Event::kAdmit, State::kOpen, 1}}},
                             {"LetsOneProbeThroughAndClosesWhenItAnswers",
                              {{0, Event::kFailure, State::kClosed},
                               {0, Event::kFailure, State::kOpen},
                               {1, Event::kAdmit, State::kHalfOpen, 1},
                               {1.5, Event::kAdmit, State::kHalfOpen, 2.5},
                               {1.6, Event::kAnswer, State::kClosed},
                               {1.7, Event::kAdmit, State::kClosed, 1.7}}},
                             {"DoublesThePauseUpToTheLimitAndForgetsItAfterAnAnswer",
                              {{0, Event::kFailure, State::kClosed},
                               {0, Event::kFailure, State::kOpen},
                               {1, Event::kAdmit, State::kHalfOpen, 1},
                               {1, Event::kFailure, State::kOpen},
                               {1, Event::kAdmit, State::kOpen, 3},
                               {3, Event::kAdmit, State::kHalfOpen, 3},
                               {3, Event::kFailure, State::kOpen},
                               {3, Event::kAdmit, State::kOpen, 6},
                               {6, Event::kAdmit, State::kHalfOpen, 6},
                               {6, Event::kAnswer, State::kClosed},
                               {7, Event::kFailure, State::kClosed},
                               {7, Event::kFailure, State::kOpen},
                               {7, Event::kAdmit, State::kOpen, 8}}},
                             {"LateFailuresOfOlderCallsDoNotLengthenThePause",
                              {{0, Event::kFailure, State::kClosed},
                               {0, Event::kFailure, State::kOpen},
                               {0.9, Event::kFailure, State::kOpen},
                               {0.9, Event::kAdmit, State::kOpen, 1}}},
                             {"AnAbandonedProbeMakesTheNextCallerTheProbe",
                              {{0, Event::kFailure, State::kClosed},
                               {0, Event::kFailure, State::kOpen},
                               {1, Event::kAdmit, State::kHalfOpen, 1},
                               {1.2, Event::kAbandoned, State::kOpen},
                               {1.2, Event::kAdmit, State::kHalfOpen, 1.2}}},
                         }),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace flowawr
