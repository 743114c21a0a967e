// The part of a command line that the programs of the service share; each adds options of its own.
#pragma once

#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace CLI {
class App;
}

namespace flowawr {

// How a process is watched.
struct TelemetryOptions {
  std::string metrics = "127.0.0.1:0";
  std::string metrics_endpoint_file;  // empty: none
  std::string log_level = "info";
  std::string log_format;  // empty: InitLogging() decides
};

// Where a process serves.
struct ServingOptions {
  std::string listen;
  std::string endpoint_file;  // empty: none
};

// --metrics, --metrics-endpoint-file, --log-level, --log-format.
void AddTelemetryOptions(CLI::App& app, TelemetryOptions* options);
// --listen and --endpoint-file; `listen_help` says what is taken without it.
void AddServingOptions(CLI::App& app, const std::string& listen_help, ServingOptions* options);
// --network-config, a file for LoadNetworkConfig(); `default_help` says what is taken without it.
void AddNetworkConfigOption(CLI::App& app, const std::string& default_help, std::string* file);

// A process's options, or the exit code to leave with after --help, --version or a mistake, which has then been
// printed.
template <typename Options>
struct Parsed {
  Options options;
  std::optional<int> exit_code;
};

// Restricts the processor (RestrictProcessor()), prepares the libraries of devices (PrepareDeviceLibraries()), adds
// --version and the exit codes to `app`, wraps its help, parses, then has `finish` read what the options name. The exit
// code to leave with, if any: a mistake of the command line or of FLOWAWR_CPU is printed and ends with 64, an error of
// `finish` with its own. A word that is not known is printed with the nearest one that is, else with what `hint` says
// about it.
std::optional<int> ParseCommandLine(
    CLI::App& app, int argc, const char* const* argv,
    absl::FunctionRef<absl::Status()> finish = [] { return absl::OkStatus(); },
    absl::FunctionRef<std::string(const std::string&)> hint = [](const std::string&) { return std::string(); });

}  // namespace flowawr
