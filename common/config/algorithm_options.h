// Which algorithm a configuration chooses, and what follows from that for plans, checks and older files. Pure.
#pragma once

#include <string>

#include "flowawr/v1/config.pb.h"

namespace flowawr {

// "flow_awr", also for a configuration that chooses none.
std::string AlgorithmName(const v1::AlgorithmConfig& algorithm);
const v1::AlgorithmTraits& TraitsOf(const v1::AlgorithmConfig& algorithm);
// Of the section that is chosen.
double KlBeta(const v1::AlgorithmConfig& algorithm);

// What is left to the algorithm: behaviour and updates_per_batch, when they are left out.
void FillInAlgorithmDefaults(v1::AlgorithmConfig* algorithm);

// Whether an update computes v_old beside v_theta, and v_ref.
bool ComputesOld(const v1::RunConfig& config);
bool ComputesReference(const v1::RunConfig& config);

// A configuration that an older version wrote, e.g. into a checkpoint: fields that have moved are where they belong now,
// and what it could not know has its default, as far as 0 is no value of it.
void BringUpToDate(v1::RunConfig* config);

}  // namespace flowawr
