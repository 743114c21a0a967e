// `flowawr report RUN_DIR`: the page and the figures of a run.
#pragma once

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommand to `app`; when it is the one that was typed, `*exit_code` is set.
void AddReportCommand(CLI::App& app, int* exit_code);

}  // namespace flowawr
