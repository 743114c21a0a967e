// What a command leaves its shell: sysexits.h.
#pragma once

#include "absl/status/status.h"

namespace flowawr {

// 0 OK; 64 wrong usage; 66 an input is missing; 69 no such process to talk to; 70 internal; 73 there is something
// already; 75 try again; 77 no permission; 78 configuration; 130 cancelled by the user.
int ExitCodeOf(const absl::Status& status);

// The same, having printed "flowawr: MESSAGE" to stderr unless it is OK.
int ReportAndExitCodeOf(const absl::Status& status);

}  // namespace flowawr
