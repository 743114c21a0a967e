// Who may call what: the roles of tokens, and one table of all methods.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace flowawr {

// Whose a token is: which of network's *_token_file fields names it.
enum class Role : uint8_t {
  kAll,       // token_file: everything
  kActor,     // actor_token_file: takes leases, brings groups, asks for scores
  kReward,    // reward_token_file: asks for scores
  kOperator,  // operator_token_file: what commands do; brings no group
  kReadOnly,  // read_only_token_file: looks
};
inline constexpr Role kRoles[] = {Role::kAll, Role::kActor, Role::kReward, Role::kOperator, Role::kReadOnly};

// The field of `network` that names the role's token, e.g. "network.actor_token_file".
const char* FieldOf(Role role);

// A set of roles; kAll is in every one.
class RoleSet {
 public:
  constexpr RoleSet(std::initializer_list<Role> roles) {
    for (const Role role : roles) bits_ |= Bit(role);
  }
  constexpr bool contains(Role role) const { return role == Role::kAll || (bits_ & Bit(role)) != 0; }

 private:
  static constexpr unsigned Bit(Role role) { return 1u << static_cast<unsigned>(role); }
  unsigned bits_ = 0;
};

struct MethodAccess {
  absl::string_view method;  // "/flowawr.v1.Control/Pause"
  absl::string_view doing;   // what a call is, for refusals: "pausing"
  RoleSet roles;
};

// All methods of the project's services, and those that every server has beside them: health and reflection, which any
// token may call.
absl::Span<const MethodAccess> MethodTable();

// Why a token of `role` may not call `method`, and whose may; empty: it may. A method without a row is for tokens with
// all rights.
std::string WhyNot(Role role, absl::string_view method);

}  // namespace flowawr
