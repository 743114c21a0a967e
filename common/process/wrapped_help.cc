#include "common/process/wrapped_help.h"

#include <CLI/CLI.hpp>
#include <cstddef>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace flowawr {
namespace {

constexpr size_t kColumns = 120;

// A word that is longer than `width` has a line of its own.
std::string Wrapped(absl::string_view text, size_t width) {
  std::string wrapped;
  size_t column = 0;
  for (const absl::string_view word : absl::StrSplit(text, ' ')) {
    const bool fits = column + 1 + word.size() <= width;
    absl::StrAppend(&wrapped, wrapped.empty() ? "" : fits ? " " : "\n", word);
    column = fits && column > 0 ? column + 1 + word.size() : word.size();
  }
  return wrapped;
}

// CLI11 indents the lines of a description.
class WrappingFormatter : public CLI::Formatter {
 public:
  std::string make_option_desc(const CLI::Option* option) const override {
    return Wrapped(CLI::Formatter::make_option_desc(option), kColumns - get_column_width());
  }
};

void Use(const std::shared_ptr<WrappingFormatter>& formatter, CLI::App& app) {
  app.formatter(formatter);
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) Use(formatter, *command);
}

}  // namespace

void WrapHelp(CLI::App& app) { Use(std::make_shared<WrappingFormatter>(), app); }

}  // namespace flowawr
