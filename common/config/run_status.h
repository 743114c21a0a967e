// What a checkpoint tells of its run, as a status: for the learner that goes on from there, and for whoever reads the
// folder of a run that nobody makes any more. Pure.
#pragma once

#include <string>

#include "flowawr/v1/checkpoint.pb.h"
#include "flowawr/v1/control.pb.h"

namespace flowawr {

// All but phase and message, which say what a process does, and what a folder is called. `config` is the run's: a fresh
// manifest has none.
v1::Status StatusOfManifest(const v1::CheckpointManifest& manifest, const v1::RunConfig& config);

// Whether train.target_reward is set, and an evaluation's mean is that or more.
bool ReachesTarget(const v1::RunConfig& config, const v1::EvaluationSummary& evaluation);

// Whether the run ended as it was to when this was written. Checkpoints of older versions do not say so: of them it is
// guessed from the newest evaluation, so that a run which reached its target before the last one, but not in it, looks
// unfinished.
bool IsFinished(const v1::CheckpointManifest& manifest);

// What the status of a finished run says of its end; empty when it was at the last update.
std::string EndMessage(const v1::CheckpointManifest& manifest);

}  // namespace flowawr
