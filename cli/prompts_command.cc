#include "cli/prompts_command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/prompts_check.h"
#include "common/base/file.h"
#include "common/base/nearest_word.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/config/prompts.h"
#include "common/process/exit_code.h"
#include "common/process/option_values.h"
#include "common/prompts/draw.h"
#include "common/prompts/geneval_prompts.h"
#include "common/prompts/ocr_prompts.h"

namespace flowawr {
namespace {

constexpr char kOcrFooter[] = R"(Examples:
  flowawr prompts ocr --count 2000 --out train.txt --heldout heldout.txt      three random letters, for models/tiny-sd3
  flowawr prompts ocr --words words.txt --style scenes --count 500 --out train.txt
  flowawr prompts ocr --length 4-8 --template 'a poster that reads "{}"' --count 1000 --out train.jsonl

A *.jsonl file has the text as `target` too; any other holds one prompt a line. No held-out text is in the training set,
in whatever template and case.)";

constexpr char kGenevalFooter[] = R"(Examples:
  flowawr prompts geneval --count 553 --out prompts.jsonl                     the benchmark's proportions
  flowawr prompts geneval --count 50000 --without evaluation_metadata.jsonl --out train.jsonl --heldout heldout.jsonl
  flowawr prompts geneval --tasks counting=5,position=7 --count 1000 --out train.jsonl

Six tasks over the 80 classes of COCO, in the benchmark's words and format: of 553 prompts single_object 80,
two_object 99, counting 80, colors 94, position 100, color_attr 100. A task that has fewer prompts than its share gives
them all (of held-out ones half), and the others share the rest. No prompt is there twice. What a held-out prompt, or
one of --without, says is in no training prompt: "a cat left of a dog" keeps "a dog right of a cat" out, too.)";

constexpr char kShapesFooter[] = R"(Example:
  flowawr prompts shapes --count 1000 --seed 1 --out train.jsonl --heldout heldout.jsonl

Circles, squares, triangles and stars in six colours, the world of models/tiny-shapes, in GenEval's words and format:
colors (24 prompts there are), counting (72), color_attr (432) and position (1,728), 1 : 3 : 3 : 3. Kept apart as by
`geneval`.)";

constexpr char kDescription[] = "Make sets of prompts, and tell what is wrong with those there are";

struct Arguments {
  uint64_t count = 1000, seed = 1;
  uint64_t heldout_count = 0;  // 0: a fifth of count
  std::string out, heldout, tasks;
  std::vector<std::string> without;
  bool force = false;
  // Of ocr alone.
  std::string length = "3", letters = OcrPromptOptions().letters, words, style = "sign";
  std::vector<std::string> templates;
};

bool IsJsonLines(const std::string& file) { return absl::EndsWithIgnoreCase(file, ".jsonl"); }

absl::Status CheckPlaces(const Arguments& arguments, bool needs_json) {
  if (!arguments.out.empty() && arguments.out == arguments.heldout)
    return UsageError("--out and --heldout name one file; they are two sets");
  for (const std::string& file : {arguments.out, arguments.heldout}) {
    if (file.empty()) continue;
    if (needs_json && !IsJsonLines(file))
      return UsageError(
          absl::StrCat(file, ": these prompts are JSON lines with what their reward needs; name the file *.jsonl"));
    if (absl::EndsWithIgnoreCase(file, ".json") || absl::EndsWithIgnoreCase(file, ".csv") ||
        absl::EndsWithIgnoreCase(file, ".tsv"))
      return UsageError(absl::StrCat(file, ": sets are written as *.jsonl or as text"));
    std::error_code ignored;
    if (!arguments.force && std::filesystem::exists(file, ignored))
      return absl::AlreadyExistsError(absl::StrCat(file, " is there already; --force writes over it"));
  }
  return absl::OkStatus();
}

std::string Bytes(const std::vector<DrawnPrompt>& prompts, bool as_json) {
  std::string bytes;
  for (const DrawnPrompt& prompt : prompts)
    absl::StrAppend(&bytes, as_json ? prompt.record.dump() : prompt.text, "\n");
  return bytes;
}

std::string CountsText(const std::vector<std::pair<std::string, uint64_t>>& counts) {
  return absl::StrJoin(counts, ", ", [](std::string* out, const std::pair<std::string, uint64_t>& count) {
    absl::StrAppend(out, count.first, " ", count.second);
  });
}

absl::Status Write(const std::string& file, const std::vector<DrawnPrompt>& prompts, bool as_json,
                   const std::vector<std::pair<std::string, uint64_t>>& counts) {
  const std::filesystem::path folder = std::filesystem::path(file).parent_path();
  if (!folder.empty()) FLOWAWR_RETURN_IF_ERROR(MakeDirectories(folder));
  FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(file, Bytes(prompts, as_json)));
  std::fprintf(stderr, "%s: %zu prompts (%s)\n", file.c_str(), prompts.size(), CountsText(counts).c_str());
  return absl::OkStatus();
}

// `key` tells what a prompt of another file says.
absl::Status Generate(const Arguments& arguments, const std::vector<PromptTask>& tasks, bool needs_json,
                      std::string (*key)(const v1::Prompt&)) {
  FLOWAWR_RETURN_IF_ERROR(CheckPlaces(arguments, needs_json));
  DrawRequest request{.count = arguments.count, .seed = arguments.seed};
  if (!arguments.heldout.empty())
    request.heldout =
        arguments.heldout_count > 0 ? arguments.heldout_count : std::max<uint64_t>(arguments.count / 5, 1);
  for (const std::string& file : arguments.without) {
    FLOWAWR_ASSIGN_OR_RETURN(const PromptSet prompts, PromptSet::Load(file));
    for (size_t i = 0; i < prompts.size(); ++i) request.taken.insert(key(prompts.At(i)));
  }
  FLOWAWR_ASSIGN_OR_RETURN(const DrawnSets sets, DrawPrompts(tasks, std::move(request)));
  if (!arguments.heldout.empty())
    FLOWAWR_RETURN_IF_ERROR(Write(arguments.heldout, sets.heldout, needs_json || IsJsonLines(arguments.heldout),
                                  sets.heldout_counts));
  if (!arguments.out.empty())
    return Write(arguments.out, sets.train, needs_json || IsJsonLines(arguments.out), sets.train_counts);
  std::fputs(Bytes(sets.train, needs_json).c_str(), stdout);
  return absl::OkStatus();
}

// TASK[=WEIGHT],...: those of `tasks`, with their weights or others.
absl::StatusOr<std::vector<PromptTask>> ChooseTasks(std::vector<PromptTask> tasks, const std::string& text) {
  if (text.empty()) return tasks;
  std::vector<std::string> names;
  for (const PromptTask& task : tasks) names.push_back(task.name);
  std::vector<PromptTask> chosen;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(part, absl::MaxSplits('=', 1));
    const auto task = std::find_if(tasks.begin(), tasks.end(),
                                   [&](const PromptTask& other) { return other.name == pair.first; });
    if (task == tasks.end())
      return UsageError(absl::StrCat("--tasks: there is no task \"", SanitizeUtf8(pair.first), "\"; there are: ",
                                     absl::StrJoin(names, ", "), DidYouMean(pair.first, names)));
    if (std::any_of(chosen.begin(), chosen.end(), [&](const PromptTask& other) { return other.name == pair.first; }))
      return UsageError(absl::StrCat("--tasks: ", pair.first, " is there twice"));
    uint32_t weight = 0;
    if (absl::StrContains(part, '=') && (!absl::SimpleAtoi(pair.second, &weight) || weight == 0 || weight > 1'000'000))
      return UsageError(
          absl::StrCat("--tasks: the weight of ", pair.first, ": expected a whole number from 1 to 1000000"));
    chosen.push_back(*task);
    if (weight > 0) chosen.back().weight = weight;
  }
  return chosen;
}

std::string TextOf(const v1::Prompt& prompt) { return prompt.text(); }

// A length, or two with "-" between.
absl::Status ParseLength(const std::string& text, OcrPromptOptions* options) {
  const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits('-', 1));
  if (!absl::SimpleAtoi(parts.front(), &options->least_length) ||
      !absl::SimpleAtoi(parts.back(), &options->most_length))
    return UsageError(
        absl::StrCat("--length ", SanitizeUtf8(text), ": expected a number of letters, or two like 3-6"));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ReadWords(const std::string& file) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(file, size_t{64} << 20));
  std::vector<std::string> words;
  for (const absl::string_view line : absl::StrSplit(bytes, '\n')) {
    const absl::string_view word = absl::StripAsciiWhitespace(line);
    if (!word.empty()) words.emplace_back(word);
  }
  if (words.empty()) return absl::InvalidArgumentError(absl::StrCat(file, ": expected one text a line"));
  return words;
}

absl::Status GenerateOcr(const Arguments& arguments) {
  OcrPromptOptions options;
  options.letters = arguments.letters;
  FLOWAWR_RETURN_IF_ERROR(ParseLength(arguments.length, &options));
  if (!arguments.words.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(options.words, ReadWords(arguments.words));
  }
  if (arguments.style == "scenes") options.templates = SceneTemplates();
  if (!arguments.templates.empty()) options.templates = arguments.templates;
  const absl::StatusOr<std::vector<PromptTask>> tasks = OcrTasks(options);
  if (!tasks.ok()) return arguments.words.empty() ? UsageError(tasks.status().message()) : Annotate(tasks.status(), arguments.words);
  return Generate(arguments, *tasks, /*needs_json=*/false, OcrKey);
}

absl::Status GenerateScenes(const Arguments& arguments, std::vector<PromptTask> (*all)()) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<PromptTask> tasks, ChooseTasks(all(), arguments.tasks));
  return Generate(arguments, tasks, /*needs_json=*/true, TextOf);
}

CLI::App* AddGenerator(CLI::App* prompts, const char* name, const char* description, const char* footer,
                       Arguments* arguments) {
  CLI::App* command = prompts->add_subcommand(name, description);
  command->footer(footer);
  command->add_option("--count", arguments->count, "training prompts")
      ->transform(WholeNumber(1, 10'000'000))
      ->capture_default_str();
  command->add_option("--seed", arguments->seed, "the same seed, the same bytes, on every machine")
      ->transform(WholeNumber(0, std::numeric_limits<uint64_t>::max()))
      ->capture_default_str();
  command->add_option("--out", arguments->out, "file for the training prompts; default: stdout")->type_name("FILE");
  CLI::Option* heldout =
      command->add_option("--heldout", arguments->heldout, "file for held-out prompts, kept apart from the others")
          ->type_name("FILE");
  command->add_option("--heldout-count", arguments->heldout_count, "held-out prompts; default: a fifth of --count")
      ->transform(WholeNumber(1, 10'000'000))
      ->needs(heldout);
  command->add_option("--without", arguments->without,
                      "a prompt file, e.g. a benchmark's: nothing that it asks for is drawn; may be repeated")
      ->type_name("FILE")
      ->allow_extra_args(false);
  command->add_flag("--force", arguments->force, "write over files that are there");
  return command;
}

void AddOcr(CLI::App* prompts, int* exit_code) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      AddGenerator(prompts, "ocr", "Prompts that ask for a text in the picture", kOcrFooter, arguments.get());
  CLI::Option* words =
      command->add_option("--words", arguments->words, "file with one text a line; default: random letters")
          ->type_name("FILE");
  command->add_option("--length", arguments->length, "of random texts: letters, or the least and the most, like 3-6")
      ->excludes(words)
      ->capture_default_str();
  command->add_option("--letters", arguments->letters, "of random texts")->excludes(words)->capture_default_str();
  command->add_option("--style", arguments->style, "sign: a sign that says \"...\"; scenes: a dozen of them")
      ->check(CLI::IsMember({"sign", "scenes"}))
      ->capture_default_str();
  command->add_option("--template", arguments->templates, "instead of a style, with \"{}\" for the text; repeatable")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  command->callback([arguments, exit_code] { *exit_code = ReportAndExitCodeOf(GenerateOcr(*arguments)); });
}

void AddScenes(CLI::App* prompts, int* exit_code, const char* name, const char* description, const char* footer,
               std::vector<PromptTask> (*tasks)()) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* command = AddGenerator(prompts, name, description, footer, arguments.get());
  command->add_option("--tasks", arguments->tasks, "only these, with other shares where a weight is named")
      ->type_name("TASK[=WEIGHT],...");
  command->callback(
      [arguments, exit_code, tasks] { *exit_code = ReportAndExitCodeOf(GenerateScenes(*arguments, tasks)); });
}

}  // namespace

void AddPromptsCommand(CLI::App& app, int* exit_code) {
  CLI::App* prompts = app.add_subcommand("prompts", kDescription);
  prompts->require_subcommand(1);
  AddOcr(prompts, exit_code);
  AddScenes(prompts, exit_code, "geneval", "Prompts like those of the GenEval benchmark", kGenevalFooter, GenevalTasks);
  AddScenes(prompts, exit_code, "shapes", "Prompts of coloured shapes, likewise", kShapesFooter, ShapesTasks);
  AddPromptsCheck(prompts, exit_code);
}

}  // namespace flowawr
