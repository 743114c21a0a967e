#include "cli/report_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/report.h"
#include "common/process/exit_code.h"

namespace flowawr {

void AddReportCommand(CLI::App& app, int* exit_code) {
  CLI::App* command = app.add_subcommand("report", "Write report.html and summary.json of a run.");
  command->footer(
      R"(Reads only the run directory: works during a run, after it, and after a crash. `flowawr run` does this at its end.

Example:
  flowawr report runs/tiny-ocr && xdg-open runs/tiny-ocr/report.html)");
  const auto run_dir = std::make_shared<std::string>();
  command->add_option("RUN_DIR", *run_dir, "The directory of the run")->required();
  command->callback([run_dir, exit_code] {
    const absl::Status status = WriteReport(*run_dir);
    if (status.ok()) std::printf("%s/report.html\n%s/summary.json\n", run_dir->c_str(), run_dir->c_str());
    *exit_code = ReportAndExitCodeOf(status);
  });
}

}  // namespace flowawr
