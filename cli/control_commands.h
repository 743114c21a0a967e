// The commands that ask a running learner: status, watch, pause, resume, checkpoint.
#pragma once

#include <string>

#include "flowawr/v1/control.pb.h"

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommands to `app`; when one of them is what was typed, `*exit_code` is set.
void AddControlCommands(CLI::App& app, int* exit_code);

// What `flowawr status` prints: the panel, and below it where time goes, the rewards and the newest checkpoint. Ends
// with a newline. Pure.
std::string DescribeStatus(const v1::Status& status, int width);

}  // namespace flowawr
