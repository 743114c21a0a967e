#include "common/process/man_page.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace flowawr {
namespace {

// As it is, whatever roff would make of it.
std::string Escaped(absl::string_view text) {
  std::string escaped = absl::StrReplaceAll(text, {{"\\", "\\e"}, {"-", "\\-"}});
  return !escaped.empty() && (escaped[0] == '.' || escaped[0] == '\'') ? "\\&" + escaped : escaped;
}

// Text as of --help: paragraphs are filled, what is indented (examples, tables) stays as it is.
std::string Paragraphs(absl::string_view text) {
  std::string page;
  bool is_kept = false;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const bool is_indented = absl::StartsWith(line, " ");
    if (is_indented != is_kept) absl::StrAppend(&page, is_indented ? ".PP\n.nf\n" : ".fi\n.PP\n");
    is_kept = is_indented;
    absl::StrAppend(&page, line.empty() ? ".PP" : Escaped(line), "\n");
  }
  if (is_kept) absl::StrAppend(&page, ".fi\n");
  return page;
}

std::string Synopsis(const CommandEntry& command) {
  std::string line = absl::StrCat("\\fB", Escaped(command.path), "\\fR [\\fIOPTIONS\\fR]");
  for (const OptionEntry& option : command.options) {
    if (option.positional.empty()) continue;
    const std::string name = absl::StrCat("\\fI", Escaped(option.positional), "\\fR");
    absl::StrAppend(&line, " ", option.is_required ? name : absl::StrCat("[", name, "]"));
  }
  if (!command.commands.empty()) absl::StrAppend(&line, " \\fICOMMAND\\fR");
  return line;
}

std::string Option(const OptionEntry& option) {
  std::string heads = absl::StrJoin(option.names, ", ", [](std::string* out, const std::string& name) {
    absl::StrAppend(out, "\\fB", Escaped(name), "\\fR");
  });
  if (!option.positional.empty())
    absl::StrAppend(&heads, heads.empty() ? "" : ", ", "\\fI", Escaped(option.positional), "\\fR");
  if (!option.names.empty() && !option.value.empty()) absl::StrAppend(&heads, " \\fI", Escaped(option.value), "\\fR");
  std::string text = option.description;
  if (option.is_required) absl::StrAppend(&text, text.empty() ? "" : "; ", "required");
  if (!option.default_value.empty()) absl::StrAppend(&text, text.empty() ? "" : "; ", "default: ", option.default_value);
  return absl::StrCat(".TP\n", heads, "\n", text.empty() ? "\\&" : Escaped(text), "\n");
}

std::string Options(const CommandEntry& command) {
  return absl::StrJoin(command.options, "",
                       [](std::string* out, const OptionEntry& option) { out->append(Option(option)); });
}

}  // namespace

std::string ManPage(const CommandEntry& program, absl::string_view version) {
  const absl::string_view summary = absl::StripAsciiWhitespace(
      absl::string_view(program.description).substr(0, program.description.find('\n')));
  std::string page = absl::StrCat(".TH ", absl::AsciiStrToUpper(program.path), " 1 \"\" \"FlowAWR ", version, "\"\n.SH NAME\n",
                                  Escaped(program.path), " \\- ", Escaped(absl::StripSuffix(summary, ".")),
                                  "\n.SH SYNOPSIS\n", Synopsis(program), "\n.SH DESCRIPTION\n",
                                  Paragraphs(program.description), ".SH OPTIONS\n", Options(program));
  const std::vector<const CommandEntry*> all = AllCommandsOf(program);
  if (all.size() > 1) absl::StrAppend(&page, ".SH COMMANDS\n");
  for (size_t i = 1; i < all.size(); ++i) {
    absl::StrAppend(&page, ".SS ", Escaped(all[i]->path), "\n", Synopsis(*all[i]), "\n.PP\n",
                    Paragraphs(all[i]->description), Options(*all[i]));
    // Commands that have none inherit the program's.
    if (!absl::StartsWith(program.footer, all[i]->footer)) absl::StrAppend(&page, ".PP\n", Paragraphs(all[i]->footer));
  }
  if (!program.footer.empty()) absl::StrAppend(&page, ".SH NOTES\n", Paragraphs(program.footer));
  return page;
}

}  // namespace flowawr
