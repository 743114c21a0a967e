#include "common/process/completion.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/base/nearest_word.h"
#include "common/process/exit_code.h"

namespace flowawr {
namespace {

using Names = std::vector<std::string>;

// flowawr-learner: _flowawr_learner, a function's name in every shell.
std::string FunctionOf(const CommandEntry& program) {
  return absl::StrCat("_", absl::StrReplaceAll(program.path, {{"-", "_"}, {" ", "_"}}));
}

std::string NameOf(const CommandEntry& command) { return command.path.substr(command.path.rfind(' ') + 1); }

// 'text', for all three shells: an apostrophe cannot be escaped in the same way in each, so that another sign stands
// for it.
std::string Quoted(absl::string_view text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "’"}, {"\n", " "}, {"\\", "\\\\"}}), "'");
}

// Its first line.
std::string Summary(const std::string& description) { return description.substr(0, description.find('\n')); }

// The options that want a value, or every option.
Names OptionNames(const CommandEntry& command, bool only_with_value) {
  Names names;
  for (const OptionEntry& option : command.options)
    if (!only_with_value || !option.value.empty()) names.insert(names.end(), option.names.begin(), option.names.end());
  return names;
}

// A `case` of bash and zsh that goes from a command to the one that a word names below it; empty without commands.
std::string Descent(const std::vector<const CommandEntry*>& all, absl::string_view word) {
  if (all.size() == 1) return "";
  Names paths;
  for (size_t i = 1; i < all.size(); ++i) paths.push_back(absl::StrCat("'", all[i]->path, "'"));
  return absl::StrCat("    case \"$command ", word, "\" in\n      ", absl::StrJoin(paths, "|"), ") command=\"$command ", word,
                      "\" ;;\n    esac\n");
}

// Replies nothing where a value or a file is wanted: `complete -o default` then completes file names.
std::string Bash(const CommandEntry& program) {
  const std::string function = FunctionOf(program);
  const std::vector<const CommandEntry*> all = AllCommandsOf(program);
  std::string script = absl::StrCat("# bash completion of ", program.path, "\n", function, "() {\n",
                                    "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n",
                                    "  local command='", program.path, "' commands='' options='' valued='' i\n",
                                    "  for ((i = 1; i < COMP_CWORD; ++i)); do\n    :\n",
                                    Descent(all, "${COMP_WORDS[i]}"), "  done\n  case $command in\n");
  for (const CommandEntry* command : all) {
    Names names;
    for (const CommandEntry& inner : command->commands) names.push_back(NameOf(inner));
    absl::StrAppend(&script, "    '", command->path, "')\n      commands='", absl::StrJoin(names, " "),
                    "'\n      options='", absl::StrJoin(OptionNames(*command, false), " "), "'\n      valued=' ",
                    absl::StrJoin(OptionNames(*command, true), " "), " ' ;;\n");
  }
  absl::StrAppend(&script, "  esac\n  COMPREPLY=()\n  [[ $valued == *\" $previous \"* ]] && return\n",
                  "  if [[ $current == -* ]]; then\n    COMPREPLY=($(compgen -W \"$options\" -- \"$current\"))\n",
                  "  elif [[ -n $commands ]]; then\n    COMPREPLY=($(compgen -W \"$commands\" -- \"$current\"))\n  fi\n}\n",
                  "complete -o default -F ", function, " ", program.path, "\n");
  return script;
}

// name:description, as _describe takes them.
std::string Described(const std::string& name, const std::string& description) {
  return Quoted(absl::StrCat(absl::StrReplaceAll(name, {{":", "\\:"}}), ":", Summary(description)));
}

std::string Zsh(const CommandEntry& program) {
  const std::string function = FunctionOf(program);
  const std::vector<const CommandEntry*> all = AllCommandsOf(program);
  std::string script = absl::StrCat("#compdef ", program.path, "\n", function, "() {\n",
                                    "  local command='", program.path, "' valued='' i\n  local -a commands options\n",
                                    "  for ((i = 2; i < CURRENT; ++i)); do\n    :\n", Descent(all, "${words[i]}"),
                                    "  done\n  case $command in\n");
  for (const CommandEntry* command : all) {
    Names commands, options;
    for (const CommandEntry& inner : command->commands) commands.push_back(Described(NameOf(inner), inner.description));
    for (const OptionEntry& option : command->options)
      for (const std::string& name : option.names) options.push_back(Described(name, option.description));
    absl::StrAppend(&script, "    '", command->path, "')\n      commands=(", absl::StrJoin(commands, " "),
                    ")\n      options=(", absl::StrJoin(options, " "), ")\n      valued=' ",
                    absl::StrJoin(OptionNames(*command, true), " "), " ' ;;\n");
  }
  absl::StrAppend(&script, "  esac\n  if [[ $valued == *\" ${words[CURRENT - 1]} \"* ]]; then _files\n",
                  "  elif [[ ${words[CURRENT]} == -* ]]; then _describe -o option options\n",
                  "  elif (( ${#commands} )); then _describe command commands\n  else _files\n  fi\n}\n",
                  "if [[ $funcstack[1] == ", function, " ]]; then ", function, " \"$@\"; else compdef ", function, " ",
                  program.path, "; fi\n");
  return script;
}

std::string Fish(const CommandEntry& program) {
  const std::string at = absl::StrCat("_", FunctionOf(program), "_at");
  const std::vector<const CommandEntry*> all = AllCommandsOf(program);
  Names paths;
  for (const CommandEntry* command : all) paths.push_back(absl::StrCat("'", command->path, "'"));
  std::string script = absl::StrCat("# fish completion of ", program.path, "\nfunction ", at, "\n  set -l command '",
                                    program.path, "'\n  for word in (commandline -opc)[2..-1]\n",
                                    "    contains -- \"$command $word\" ", absl::StrJoin(paths, " "),
                                    "; and set command \"$command $word\"\n  end\n",
                                    "  test \"$command\" = \"$argv[1]\"\nend\n");
  for (const CommandEntry* command : all) {
    const std::string begin = absl::StrCat("complete -c ", program.path, " -n \"", at, " '", command->path, "'\"");
    for (const CommandEntry& inner : command->commands)
      absl::StrAppend(&script, begin, " -f -a ", NameOf(inner), " -d ", Quoted(Summary(inner.description)), "\n");
    for (const OptionEntry& option : command->options) {
      if (option.names.empty()) continue;
      absl::StrAppend(&script, begin);
      for (const std::string& name : option.names)
        absl::StrAppend(&script, name[1] == '-' ? " -l " : " -s ", name.substr(name[1] == '-' ? 2 : 1));
      absl::StrAppend(&script, option.value.empty() ? "" : " -r", " -d ", Quoted(Summary(option.description)), "\n");
    }
  }
  return script;
}

}  // namespace

absl::StatusOr<std::string> CompletionScript(const CommandEntry& program, absl::string_view shell) {
  if (shell == "bash") return Bash(program);
  if (shell == "zsh") return Zsh(program);
  if (shell == "fish") return Fish(program);
  return UsageError(absl::StrCat("no completion for ", shell, DidYouMean(std::string(shell), {"bash", "zsh", "fish"}),
                                 "; there are bash, zsh and fish"));
}

}  // namespace flowawr
