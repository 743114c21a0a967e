// Two macros that pass an error up, with the usual meaning.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define FLOWAWR_RETURN_IF_ERROR(expression)                                 \
  do {                                                                      \
    if (absl::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)

// `lhs` may declare a variable; it must not hold a comma outside parentheses.
#define FLOWAWR_ASSIGN_OR_RETURN(lhs, expression) \
  FLOWAWR_ASSIGN_OR_RETURN_(FLOWAWR_CONCAT_(status_or_, __LINE__), lhs, expression)

#define FLOWAWR_ASSIGN_OR_RETURN_(result, lhs, expression) \
  auto result = (expression);                              \
  if (!result.ok()) return std::move(result).status();     \
  lhs = std::move(result).value()
#define FLOWAWR_CONCAT_(a, b) FLOWAWR_CONCAT2_(a, b)
#define FLOWAWR_CONCAT2_(a, b) a##b

namespace flowawr {

// The same error with `context` and ": " before its message; OK stays OK.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

// InvalidArgument with `context` and all of `complaints`: a single one after ": ", several on a line each, indented. OK
// if there are none. Of very many the first ones are listed and the others counted.
absl::Status AllComplaints(absl::string_view context, const std::vector<std::string>& complaints);

}  // namespace flowawr
