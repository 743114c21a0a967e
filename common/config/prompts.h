// Prompt sets.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "flowawr/v1/checkpoint.pb.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

// A line of a prompt file that holds no prompt, or a prompt that is no good.
struct PromptFault {
  std::string where;    // "file:line"; of *.json "file: prompt 3"
  std::string message;  // what is wrong, and what to do
};

// A prompt file in memory: its bytes and 4 more a prompt; a prompt is parsed when it is asked for. Immutable, so
// thread-safe; movable.
//
// What a file holds is told by its name:
//   *.jsonl       one JSON object a line; "prompt" is the text, every other field becomes metadata: strings as they are,
//                 null as if it were not there, other values as JSON text. "target" must be a string or a number.
//   *.json        one array of such objects, or of strings
//   *.csv, *.tsv  a header line with a column "prompt", other columns become metadata, empty cells are not there;
//                 cells in double quotes as RFC 4180 has them
//   other names   one prompt a line, blanks around it removed; a line that is "#" or starts with "# " is a comment
// UTF-8, with or without byte order mark; lines end with LF or CRLF; empty lines are left out. Repeated prompts are kept.
class PromptSet {
 public:
  // InvalidArgument names file:line (of *.json: the prompt) and what to do; also when there is no prompt at all, or the
  // content is not what the name says. NotFound when there is no such file.
  //
  // With `faults`, such lines are left out and told there, and the set may be empty. A file that is no good as a whole,
  // as an array that is not JSON or a table without a header, is InvalidArgument all the same; after a double quote
  // that is never closed nothing more of a table is read.
  static absl::StatusOr<PromptSet> Load(const std::string& path, std::vector<PromptFault>* faults = nullptr);

  PromptSet() = default;  // empty

  size_t size() const { return starts_.size(); }
  bool empty() const { return starts_.empty(); }
  // `index` of a prompt is its position in the file, from 0, and stays that when others are left out.
  v1::Prompt At(size_t i) const;
  v1::Prompt operator[](size_t i) const { return At(i); }
  // "file:line", for messages. Slow.
  std::string Where(size_t i) const;

  // Without the prompts whose index is in `left_out`, which ascends.
  PromptSet Without(const std::vector<uint64_t>& left_out) &&;

  // What a checkpoint keeps of the whole set, to find out whether it was changed since. Comments, empty lines and the
  // byte order mark do not count.
  v1::PromptSetRecord Record() const;

 private:
  enum class Form { kText, kJson };

  // `refuse` tells of one line (of an array: prompt); what it returns, unless OK, ends the reading.
  using Refuse = absl::FunctionRef<absl::Status(const std::string& where, const absl::Status& why)>;
  absl::Status AddLines(Form form, Refuse refuse);
  absl::Status AddTable(char separator, Refuse refuse);
  absl::Status AddArray(Refuse refuse);
  absl::string_view Bytes(size_t i) const;

  std::string path_;
  Form form_ = Form::kText;
  std::string bytes_;             // of the file; of an array or a table: JSON lines made of it
  std::vector<uint32_t> starts_;  // of each prompt in bytes_; it ends with its line
  std::vector<uint32_t> places_;  // of an array or a table: number or line in the file
  std::vector<uint32_t> indices_;  // where prompts were left out
};

// Empty when `now` is what `then` was made of; else what differs, for people: how many prompts there were and are, and
// which ones changed, exactly in sets of up to 1024 prompts and by stretches in larger ones.
std::string DescribeChange(const v1::PromptSetRecord& then, const PromptSet& now);

}  // namespace flowawr
