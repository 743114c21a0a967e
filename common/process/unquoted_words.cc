#include "common/process/unquoted_words.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/shell_quote.h"

namespace flowawr {
namespace {

// A stretch of the command line.
struct Group {
  std::vector<std::string> before;  // kept as it is: an option's name, a command
  std::string value;                // of that option; `--name=value` in one
  bool has_value = false;
  bool is_text = false;            // may hold spaces
  std::vector<std::string> after;  // words that begin with no dash
};

struct Reading {
  CLI::App* command = nullptr;
  std::vector<Group> groups;
  size_t capacity = 0;  // words that the command takes without a name, less those that it was given by name
};

CLI::App* SubcommandOf(CLI::App& app, const std::string& name) {
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; }))
    if (command->check_name(name)) return command;
  return nullptr;
}

CLI::Option* OptionOf(CLI::App& app, const std::string& name) {
  for (CLI::Option* option : app.get_options())
    if (option->nonpositional() && option->check_name(name)) return option;
  return nullptr;
}

// Numbers, addresses and words of a list are checked; text and paths are not.
bool IsChecked(CLI::Option* option) {
  try {
    option->get_validator(0);
    return true;
  } catch (const CLI::OptionNotFound&) {
    return false;
  }
}

Reading Read(CLI::App& app, const std::vector<std::string>& words) {
  Reading reading{.command = &app};
  reading.groups.emplace_back();
  bool has_word = false;
  size_t given_by_name = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.size() < 2 || word[0] != '-') {
      CLI::App* command = has_word ? nullptr : SubcommandOf(*reading.command, word);
      if (command != nullptr) {
        reading.command = command;
        reading.groups.back().before.push_back(word);
      } else {
        has_word = true;
        reading.groups.back().after.push_back(word);
      }
      continue;
    }
    Group group;
    const size_t equals = word.find('=');
    CLI::Option* option = OptionOf(*reading.command, word.substr(0, equals));
    const bool takes_value = option != nullptr && option->get_items_expected_max() > 0;
    if (takes_value && option->get_positional()) ++given_by_name;
    group.is_text = takes_value && !IsChecked(option);
    if (takes_value && equals != std::string::npos) {
      group.value = word;
      group.has_value = true;
    } else {
      group.before.push_back(word);
      if (takes_value && i + 1 < words.size()) {
        group.value = words[++i];
        group.has_value = true;
      }
    }
    reading.groups.push_back(std::move(group));
  }
  for (const CLI::Option* option : reading.command->get_options())
    if (option->get_positional()) reading.capacity += static_cast<size_t>(option->get_items_expected_max());
  reading.capacity -= std::min(reading.capacity, given_by_name);
  return reading;
}

std::string Line(const CLI::App& app, const std::vector<Group>& groups) {
  std::vector<std::string> words = {app.get_name()};
  for (const Group& group : groups) {
    for (const std::string& word : group.before) words.push_back(ShellQuote(word));
    if (group.has_value) words.push_back(ShellQuote(group.value));
    for (const std::string& word : group.after) words.push_back(ShellQuote(word));
  }
  return absl::StrJoin(words, " ");
}

}  // namespace

std::string DescribeUnquotedWords(CLI::App& app, const std::vector<std::string>& words, bool may_be_taken,
                                  absl::FunctionRef<bool(const std::string&)> is_there) {
  Reading reading = Read(app, words);
  size_t loose = 0, apart = 0;  // words in all; those that follow no value
  for (const Group& group : reading.groups) {
    loose += group.after.size();
    apart += group.has_value && group.is_text ? 0 : group.after.size();
  }
  const bool is_too_many = loose > reading.capacity;
  if (!is_too_many && !may_be_taken) return "";
  size_t room = reading.capacity - std::min(reading.capacity, apart);
  bool is_joined = false;
  for (Group& group : reading.groups) {
    if (!group.has_value || !group.is_text) continue;
    if (std::all_of(group.after.begin(), group.after.end(), is_there)) continue;
    // A folder at the end is the command's, as it may stand there.
    std::vector<std::string> kept;
    while (room > 0 && !group.after.empty() && is_there(group.after.back())) {
      kept.insert(kept.begin(), group.after.back());
      group.after.pop_back();
      --room;
    }
    is_joined |= !group.after.empty();
    for (const std::string& word : group.after) absl::StrAppend(&group.value, " ", word);
    group.after = std::move(kept);
  }
  if (!is_joined && is_too_many && reading.capacity == 1) {
    // Of one folder or file.
    for (Group& group : reading.groups) {
      if (group.after.size() < 2 || std::all_of(group.after.begin(), group.after.end(), is_there)) continue;
      group.after = {absl::StrJoin(group.after, " ")};
      is_joined = true;
    }
  }
  if (!is_joined) return "";
  return absl::StrCat("a value with spaces or quotes in it needs quotes around it; probably meant:\n  ",
                      Line(app, reading.groups), "\n");
}

}  // namespace flowawr
