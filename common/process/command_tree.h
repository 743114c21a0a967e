// What a program's command line takes, as data: for what is written out of it, such as completions and manual pages.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace flowawr {

struct OptionEntry {
  std::vector<std::string> names;  // "--set", "-o"; empty: a positional
  std::string positional;          // its name there, e.g. "RUN_DIR"; empty: none
  std::string value;               // what follows, e.g. "HOST:PORT"; empty: nothing, it is a flag
  std::string description;
  std::string default_value;  // empty: none, or not told
  bool is_required = false;
};

struct CommandEntry {
  std::string path;  // "flowawr reward load"
  std::string description;
  std::string footer;
  std::vector<OptionEntry> options;   // in the order of --help, those without a group (hidden ones) left out
  std::vector<CommandEntry> commands;
};

CommandEntry CommandTreeOf(const CLI::App& app);

// `root` and all its commands, parents before children.
std::vector<const CommandEntry*> AllCommandsOf(const CommandEntry& root);

}  // namespace flowawr
