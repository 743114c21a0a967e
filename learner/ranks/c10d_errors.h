// c10d and Gloo tell of everything by exceptions, with much advice to their own users.
#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

namespace flowawr {

// What `call` throws as Unavailable, or as DeadlineExceeded when it took all of `limit`, after `what`.
absl::Status WithoutExceptions(const std::string& what, absl::Duration limit, absl::FunctionRef<void()> call);

}  // namespace flowawr
