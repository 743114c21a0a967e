#include "common/process/command_tree.h"

#include <CLI/CLI.hpp>
#include <utility>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

OptionEntry EntryOf(const CLI::Option& option) {
  OptionEntry entry;
  for (const std::string& name : option.get_snames()) entry.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) entry.names.push_back("--" + name);
  if (option.get_positional()) entry.positional = option.get_name(true);
  if (option.get_items_expected_max() > 0) {
    entry.value = option.get_type_name();
    if (entry.value.empty()) entry.value = "VALUE";
  }
  entry.description = option.get_description();
  entry.default_value = option.get_default_str();
  entry.is_required = option.get_required();
  return entry;
}

CommandEntry EntryOf(const CLI::App& app, const std::string& parent) {
  CommandEntry entry;
  entry.path = absl::StrCat(parent, parent.empty() ? "" : " ", app.get_name());
  entry.description = app.get_description();
  entry.footer = app.get_footer();
  for (const CLI::Option* option : app.get_options([](const CLI::Option* some) { return !some->get_group().empty(); }))
    entry.options.push_back(EntryOf(*option));
  for (const CLI::App* command : app.get_subcommands([](const CLI::App* some) { return !some->get_group().empty(); }))
    entry.commands.push_back(EntryOf(*command, entry.path));
  return entry;
}

void Collect(const CommandEntry& command, std::vector<const CommandEntry*>* all) {
  all->push_back(&command);
  for (const CommandEntry& inner : command.commands) Collect(inner, all);
}

}  // namespace

CommandEntry CommandTreeOf(const CLI::App& app) { return EntryOf(app, ""); }

std::vector<const CommandEntry*> AllCommandsOf(const CommandEntry& root) {
  std::vector<const CommandEntry*> all;
  Collect(root, &all);
  return all;
}

}  // namespace flowawr
