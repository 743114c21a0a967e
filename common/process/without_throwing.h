// A command's last line of defence: what a library throws becomes an error like any other.
#pragma once

#include <exception>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// What `work` returns; Internal, "`failed`: ...", for an exception.
inline absl::Status WithoutThrowing(absl::string_view failed, absl::FunctionRef<absl::Status()> work) {
  try {
    return work();
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(failed, ": ", error.what()));
  }
}

}  // namespace flowawr
