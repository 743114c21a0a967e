// The reward server of terms that name none.
#pragma once

#include <string>

#include "flowawr/v1/reward.pb.h"

namespace flowawr {

// What is stored of a spec leaves such terms empty, so that a resumed run finds its own server at a new address; whoever
// is to call the servers fills them in.
inline void FillInEndpoints(const std::string& default_endpoint, v1::RewardSpec* spec) {
  for (v1::RewardSpecTerm& term : *spec->mutable_terms())
    if (term.endpoint().empty()) term.set_endpoint(default_endpoint);
}

}  // namespace flowawr
