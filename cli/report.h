// The report of a run: report.html for people, summary.json for programs.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "cli/run_history.h"

namespace flowawr {

// Writes both files into `run_dir`, each whole. Works on a run that goes on, too: the report says what is missing.
// NotFound when the directory has no history.
absl::Status WriteReport(const std::string& run_dir);

// One page without outside parts: no script, charts as SVG, pictures as base64 PNG, light and dark by the reader's
// choice. Everything from the run directory is escaped. `summary_json` is the text of summary.json. Pure.
std::string RenderReport(const RunHistory& history, const std::string& name, const std::string& summary_json);

}  // namespace flowawr
