#include "cli/thread_budget.h"

#include "gtest/gtest.h"

namespace flowawr {
namespace {

struct Case {
  const char* name;
  int cores;
  int actors, actor_threads, reward_threads, train_threads;  // as configured
  ThreadBudget expected;
};

TEST(ThreadBudgetTest, FillsInWhatTheConfigLeavesOpen) {
  const Case cases[] = {
      {"no core count known", 0, 0, 0, 0, 0, {1, 1, 1, 1}},
      {"two cores", 2, 0, 0, 0, 0, {2, 1, 2, 2}},
      {"more cores than actors", 32, 0, 0, 0, 0, {8, 4, 32, 32}},
      {"cores that do not divide", 7, 3, 0, 0, 0, {3, 2, 7, 7}},
      {"more actors than cores", 2, 5, 0, 0, 0, {5, 1, 2, 2}},
      {"everything chosen", 2, 1, 3, 4, 5, {1, 3, 5, 4}},
  };
  for (const Case& c : cases) {
    v1::RunConfig config;
    config.mutable_local()->set_actors(c.actors);
    config.mutable_local()->set_actor_threads(c.actor_threads);
    config.mutable_local()->set_reward_threads(c.reward_threads);
    config.mutable_train()->set_threads(c.train_threads);
    EXPECT_EQ(BudgetThreads(c.cores, config), c.expected) << c.name;
  }
}

TEST(ThreadBudgetTest, GivesEachAcceleratorAnActorUnlessTheConfigSaysHowMany) {
  v1::RunConfig config;
  EXPECT_EQ(BudgetThreads(32, config, /*accelerators=*/16), (ThreadBudget{16, 2, 32, 32}));
  EXPECT_EQ(BudgetThreads(2, config, /*accelerators=*/8), (ThreadBudget{8, 1, 2, 2}));
  config.mutable_local()->set_actors(3);
  EXPECT_EQ(BudgetThreads(32, config, /*accelerators=*/8), (ThreadBudget{3, 10, 32, 32}));
}

}  // namespace
}  // namespace flowawr
