// Which fields of a configuration may differ when a run is resumed: one list, from which the learner compares and the
// reference tells. Pure.
#pragma once

#include <string>
#include <vector>

#include "flowawr/v1/config.pb.h"

namespace flowawr {

struct ResumeField {
  std::string path;  // of a field or a section with all that is in it, without the numbers of a list's elements
  std::string why;   // completes "may differ: ..."; empty: it changes nothing of what is trained
};
const std::vector<ResumeField>& FieldsFreeOnResume();

// Empties them, so that two configurations are equal when one may go on with the other.
void ClearFieldsFreeOnResume(v1::RunConfig* config);

}  // namespace flowawr
