// c10d and Gloo tell of everything by exceptions, with much advice to their own users.
#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

namespace flowawr {

// From now on, for the whole process, LibTorch logs nothing by itself: for every piece of junk that somebody sends to a
// store c10d would write a stack trace beside this program's log. What matters is thrown. Whoever sets TORCH_CPP_LOG_LEVEL
// gets what that says.
void SilenceC10d();

// What `call` throws as Unavailable, or as DeadlineExceeded when it took all of `limit`, after `what`.
absl::Status WithoutExceptions(const std::string& what, absl::Duration limit, absl::FunctionRef<void()> call);

}  // namespace flowawr
