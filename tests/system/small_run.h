// What the system tests share: a configuration so small that an update takes a fraction of a second, and waiting for
// what processes do. Every wait is on an RPC, a process or a file that changes, and fails the test after kPatience.
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/control.pb.h"
#include "tests/system/process.h"

namespace flowawr {

// A run's configuration on the embedded model. `settings` are "path=value", as of `--set`.
v1::RunConfig SmallConfig(const std::string& run_dir, const std::vector<std::string>& settings);

// A program of the build.
std::string SystemProgram(const std::string& name);

// The address in an endpoint file, once it is there; fails the test when `process` ends before.
std::string AwaitEndpoint(const std::string& file, const Process& process);

// The first status of the learner that satisfies `wanted`; fails the test when the learner goes away before.
v1::Status AwaitStatus(const std::string& learner_endpoint, absl::FunctionRef<bool(const v1::Status&)> wanted,
                       const v1::NetworkConfig& network = {});

// Until `file` holds `text`; false, and the test fails, when `process` ends before.
bool AwaitText(const std::string& file, const std::string& text, const Process& process);

// Prints the end of a log when the test has failed.
void ShowLogOfFailure(const std::string& path);

}  // namespace flowawr
