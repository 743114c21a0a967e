#include "common/rpc/access.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "flowawr/v1/control.pb.h"
#include "flowawr/v1/policy.pb.h"
#include "flowawr/v1/reward.pb.h"
#include "flowawr/v1/rollout.pb.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Every method of every service that the project's protos define, whatever is added to them.
std::vector<std::string> AllMethods() {
  std::set<std::string> methods;
  for (const auto* file : {v1::Status::descriptor()->file(), v1::PolicyVersion::descriptor()->file(),
                           v1::ScoreRequest::descriptor()->file(), v1::RegisterRequest::descriptor()->file()})
    for (int i = 0; i < file->service_count(); ++i)
      for (int j = 0; j < file->service(i)->method_count(); ++j)
        methods.insert(absl::StrCat("/", file->service(i)->full_name(), "/", file->service(i)->method(j)->name()));
  return {methods.begin(), methods.end()};
}

// Whom the test expects, said in another way than the table does.
std::set<Role> Expected(const std::string& method) {
  const auto is_of = [&method](const char* service) { return absl::StrContains(method, service); };
  const auto ends = [&method](const char* name) { return absl::EndsWith(method, name); };
  if (is_of("Rollout/") || is_of("PolicyStore/") || is_of("PolicyPeer/")) return {Role::kActor};
  if (ends("/GetStatus") || ends("/WatchStatus")) return {Role::kOperator, Role::kReadOnly};
  if (is_of("Control/")) return {Role::kOperator};
  if (ends("/ListScorers")) return {Role::kActor, Role::kReward, Role::kOperator, Role::kReadOnly};
  if (ends("/Score") || ends("/CheckPrompts")) return {Role::kActor, Role::kReward, Role::kOperator};
  if (is_of("RewardService/")) return {Role::kOperator};
  return {};
}

TEST(Access, EveryMethodOfEveryServiceHasItsRow) {
  const std::vector<std::string> methods = AllMethods();
  ASSERT_GE(methods.size(), 23);
  std::map<std::string, int> rows;
  for (const MethodAccess& row : MethodTable()) ++rows[std::string(row.method)];
  for (const std::string& method : methods) {
    EXPECT_EQ(rows[method], 1) << method << " needs a row in common/rpc/access.cc";
    rows.erase(method);
  }
  for (const auto& [method, count] : rows)
    EXPECT_TRUE(absl::StartsWith(method, "/grpc.")) << method << " is in the table and in no service";
}

TEST(Access, EveryRoleMayDoItsOwnAndNothingElse) {
  for (const std::string& method : AllMethods())
    for (const Role role : kRoles) {
      const bool may = role == Role::kAll || Expected(method).contains(role);
      EXPECT_EQ(WhyNot(role, method).empty(), may) << FieldOf(role) << " " << method;
    }
}

TEST(Access, ARefusalSaysWhoseTheTokenIsAndWhoseIsNeeded) {
  EXPECT_THAT(WhyNot(Role::kActor, "/flowawr.v1.Control/Pause"),
              HasSubstr("the token is the actors'; pausing needs an operator's"));
  EXPECT_THAT(WhyNot(Role::kReadOnly, "/flowawr.v1.RewardService/Score"),
              AllOf(HasSubstr("for looking only"), HasSubstr("an actor's or a reward user's or an operator's")));
}

TEST(Access, AMethodThatNobodyKnowsIsForAllRights) {
  EXPECT_EQ(WhyNot(Role::kAll, "/no.such.Service/Method"), "");
  for (const Role role : kRoles) {
    if (role == Role::kAll) continue;
    EXPECT_THAT(WhyNot(role, "/no.such.Service/Method"), HasSubstr("needs one of all rights"));
    EXPECT_EQ(WhyNot(role, "/grpc.health.v1.Health/Check"), "");
  }
}

}  // namespace
}  // namespace flowawr
