#include "common/rpc/access.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

constexpr RoleSet kOperators = {Role::kOperator};
constexpr RoleSet kLookers = {Role::kOperator, Role::kReadOnly};
constexpr RoleSet kActors = {Role::kActor};
constexpr RoleSet kScoreUsers = {Role::kActor, Role::kReward, Role::kOperator};
constexpr RoleSet kAnybody = {Role::kActor, Role::kReward, Role::kOperator, Role::kReadOnly};

constexpr MethodAccess kMethods[] = {
    {"/flowawr.v1.Control/GetStatus", "looking at the status", kLookers},
    {"/flowawr.v1.Control/WatchStatus", "looking at the status", kLookers},
    {"/flowawr.v1.Control/Pause", "pausing", kOperators},
    {"/flowawr.v1.Control/Resume", "resuming", kOperators},
    {"/flowawr.v1.Control/Checkpoint", "writing a checkpoint", kOperators},
    {"/flowawr.v1.Control/Export", "exporting", kOperators},
    {"/flowawr.v1.Control/SetRewardSpec", "changing the rewards", kOperators},
    {"/flowawr.v1.Control/Shutdown", "stopping the run", kOperators},

    {"/flowawr.v1.PolicyStore/WatchPolicy", "following the policy", kActors},
    {"/flowawr.v1.PolicyStore/FetchPolicy", "fetching the policy", kActors},
    {"/flowawr.v1.PolicyStore/ReportAdoption", "reporting a policy's adoption", kActors},
    {"/flowawr.v1.PolicyPeer/FetchAdapter", "fetching the policy from an actor", kActors},

    {"/flowawr.v1.Rollout/Register", "taking part as an actor", kActors},
    {"/flowawr.v1.Rollout/AcquireLease", "taking leases", kActors},
    {"/flowawr.v1.Rollout/RenewLeases", "renewing leases", kActors},
    {"/flowawr.v1.Rollout/FailLease", "handing leases back", kActors},
    {"/flowawr.v1.Rollout/SubmitGroup", "bringing groups", kActors},
    {"/flowawr.v1.Rollout/Leave", "leaving as an actor", kActors},

    {"/flowawr.v1.RewardService/Score", "asking for scores", kScoreUsers},
    {"/flowawr.v1.RewardService/CheckPrompts", "checking prompts", kScoreUsers},
    {"/flowawr.v1.RewardService/ListScorers", "listing scorers", kAnybody},
    {"/flowawr.v1.RewardService/LoadScorer", "loading scorers", kOperators},
    {"/flowawr.v1.RewardService/UnloadScorer", "unloading scorers", kOperators},
    {"/flowawr.v1.RewardService/ReloadScorer", "loading scorers anew", kOperators},

    {"/grpc.health.v1.Health/Check", "asking for health", kAnybody},
    {"/grpc.health.v1.Health/Watch", "asking for health", kAnybody},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "asking what is served", kAnybody},
};

struct RoleWords {
  const char* field;
  const char* whose;   // "the token is ..."
  const char* wanted;  // "... needs ..."
};

const RoleWords& WordsOf(Role role) {
  static constexpr RoleWords kWords[] = {
      {"network.token_file", "of all rights", "one of all rights"},
      {"network.actor_token_file", "the actors'", "an actor's"},
      {"network.reward_token_file", "of reward users", "a reward user's"},
      {"network.operator_token_file", "an operator's", "an operator's"},
      {"network.read_only_token_file", "for looking only", "one for looking"},
  };
  return kWords[static_cast<size_t>(role)];
}

}  // namespace

const char* FieldOf(Role role) { return WordsOf(role).field; }

absl::Span<const MethodAccess> MethodTable() { return kMethods; }

std::string WhyNot(Role role, absl::string_view method) {
  if (role == Role::kAll) return "";
  const auto* const found = std::find_if(std::begin(kMethods), std::end(kMethods),
                                         [&](const MethodAccess& row) { return row.method == method; });
  const std::string begin = absl::StrCat("the token is ", WordsOf(role).whose, "; ");
  if (found == std::end(kMethods)) return absl::StrCat(begin, "this call needs one of all rights (network.token_file)");
  if (found->roles.contains(role)) return "";
  std::string wanted;
  for (const Role each : kRoles)
    if (each != Role::kAll && found->roles.contains(each))
      absl::StrAppend(&wanted, wanted.empty() ? "" : " or ", WordsOf(each).wanted);
  return absl::StrCat(begin, found->doing, " needs ", wanted,
                      "; set network.token_file, where you call from, to the file of such a token");
}

}  // namespace flowawr
