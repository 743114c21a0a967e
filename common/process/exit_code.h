// What every program of the service leaves its caller: one table for all of them, codes of sysexits.h.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace flowawr {

inline constexpr int kUsageExitCode = 64;

// The table, for the end of every --help.
inline constexpr char kExitCodesHelp[] =
    R"(Exit codes: 0 done; 64 wrong usage; 65 a file is damaged; 66 an input is missing; 69 nobody answers; 70 internal
error; 73 there is something already (a run in the folder, a listener on the address); 75 busy or full, try again;
77 refused (token, TLS, permissions); 78 the configuration is no good, or does not fit the run; 130 stopped by the user.)";

int ExitCodeOf(const absl::Status& status);

// InvalidArgument about the command line itself, e.g. a word that is missing where another command line would do without
// it: kUsageExitCode, as for what the parser of options refuses.
absl::Status UsageError(absl::string_view message);

// The kind of error that a program which ended with this code has told: ExitCodeOf() of it is `exit_code` again, or 70.
absl::StatusCode CodeOfExit(int exit_code);

// The same, having printed "PROGRAM: MESSAGE" to stderr unless it is OK.
int ReportAndExitCodeOf(const absl::Status& status);

}  // namespace flowawr
