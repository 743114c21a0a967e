#include "common/config/prompts.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/config/csv.h"
#include "nlohmann/json.hpp"

namespace flowawr {
namespace {

using nlohmann::json;

constexpr size_t kMaxFileBytes = size_t{1} << 30;
constexpr size_t kMaxArrayBytes = size_t{64} << 20;  // an array is parsed as a whole, at twenty times its size
constexpr size_t kMaxLineBytes = 64 << 10;
constexpr size_t kMaxPromptBytes = 8 << 10;
constexpr size_t kMaxRecordBlocks = 1024;
constexpr int kMaxJsonDepth = 64;  // the library writes JSON by recursion

// The value of `text`; refuses an object that names a field twice, which JSON leaves open.
absl::StatusOr<json> ParseJson(absl::string_view text) {
  std::string twice;
  bool is_too_deep = false;
  std::vector<std::set<std::string>> fields;  // of the objects that are open
  const auto check = [&](int depth, json::parse_event_t event, json& value) {
    is_too_deep = is_too_deep || depth > kMaxJsonDepth;
    if (is_too_deep) return false;
    if (event == json::parse_event_t::object_start) fields.emplace_back();
    if (event == json::parse_event_t::object_end) fields.pop_back();
    if (event == json::parse_event_t::key && !fields.back().insert(value.get<std::string>()).second && twice.empty())
      twice = value.get<std::string>();
    return true;
  };
  try {
    json parsed = json::parse(text.begin(), text.end(), check);
    if (is_too_deep)
      return absl::InvalidArgumentError(absl::StrCat("arrays and objects within another, more than ", kMaxJsonDepth));
    if (!twice.empty())
      return absl::InvalidArgumentError(absl::StrCat("the field \"", TruncateUtf8(twice, 64), "\" is there twice"));
    return parsed;
  } catch (const json::exception& error) {
    if (absl::StrContains(error.what(), "invalid literal") &&
        (absl::StrContains(text, "NaN") || absl::StrContains(text, "Infinity")))
      return absl::InvalidArgumentError("NaN and Infinity are no JSON; leave the field out, or write null");
    // Its own beginning is "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error ...".
    const absl::string_view what = error.what();
    const size_t begin = what.find("column ");
    return absl::InvalidArgumentError(
        absl::StrCat("not JSON: ", TruncateUtf8(begin == what.npos ? what : what.substr(begin), 200)));
  }
}

absl::StatusOr<v1::Prompt> FromJson(const json& object) {
  v1::Prompt prompt;
  if (!object.is_object())
    return absl::InvalidArgumentError(R"(expected one JSON object, e.g. {"prompt": "a red cube", "target": "CAT"})");
  const auto text = object.find("prompt");
  if (text == object.end()) {
    for (const auto& [name, value] : object.items())
      if (absl::EqualsIgnoreCase(name, "prompt"))
        return absl::InvalidArgumentError(absl::StrCat("the field is called \"", name, "\"; call it \"prompt\""));
    return absl::InvalidArgumentError("the field \"prompt\" is missing");
  }
  if (!text->is_string()) return absl::InvalidArgumentError("the field \"prompt\" must be a string");
  prompt.set_text(std::string(absl::StripAsciiWhitespace(text->get_ref<const std::string&>())));
  for (const auto& [name, value] : object.items()) {
    if (name == "prompt" || value.is_null()) continue;
    if (name == "target" && !value.is_string() && !value.is_number())
      return absl::InvalidArgumentError(
          absl::StrCat("the field \"target\" must be a string, a number or null, not ", value.type_name()));
    (*prompt.mutable_metadata())[name] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return prompt;
}

absl::Status CheckPrompt(const v1::Prompt& prompt) {
  if (prompt.text().empty()) return absl::InvalidArgumentError("the prompt is empty");
  if (prompt.text().size() > kMaxPromptBytes)
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt has ", prompt.text().size(), " bytes; at most ", kMaxPromptBytes));
  return absl::OkStatus();
}

absl::Status CheckBytes(absl::string_view line) {
  if (line.size() > kMaxLineBytes)
    return absl::InvalidArgumentError(absl::StrCat("the line has ", line.size(), " bytes; at most ", kMaxLineBytes));
  if (const size_t nul = line.find('\0'); nul != line.npos)
    return absl::InvalidArgumentError(
        absl::StrCat("byte ", nul + 1, " is NUL: this is no plain text; if it is UTF-16, save the file as UTF-8"));
  if (const auto bad = FindInvalidUtf8(line); bad.has_value())
    return absl::InvalidArgumentError(absl::StrCat("byte ", *bad + 1, " is not UTF-8; save the file as UTF-8"));
  return absl::OkStatus();
}

bool IsComment(absl::string_view line) { return line == "#" || absl::StartsWith(line, "# "); }

// What a line of plain text looks like that was meant as another format; "" for a prompt.
std::string LooksLikeAnotherForm(absl::string_view line, bool is_first) {
  if (line == "{" || line == "[" || absl::StartsWith(line, "{\"") || absl::StartsWith(line, "[{") ||
      absl::StartsWith(line, "[\""))
    return "this is JSON; name a file with one object a line *.jsonl, one with an array *.json";
  if (is_first && (line == "prompt" || absl::StartsWith(line, "prompt,") || absl::StartsWith(line, "\"prompt\",")))
    return "this is the header of a table; name the file *.csv";
  if (is_first && (absl::StartsWith(line, "prompt\t") || absl::StartsWith(line, "\"prompt\"\t")))
    return "this is the header of a table; name the file *.tsv";
  return "";
}

// Says more than a parser can where the file is JSON, but not one object a line.
absl::Status ExplainJsonLine(const absl::Status& status, absl::string_view line) {
  if (absl::StartsWith(line, "["))
    return absl::InvalidArgumentError("the file holds an array, not one object a line; name it *.json");
  if (line == "{")
    return absl::InvalidArgumentError(
        "an object must stand on one line; or make one array of all objects and name the file *.json");
  if (absl::EndsWith(line, "},"))
    return absl::InvalidArgumentError(
        "the line ends with a comma; take it away, or put all in [ ] and name the file *.json");
  return status;
}

absl::StatusOr<v1::Prompt> ParseLine(absl::string_view line, bool is_json, bool is_first) {
  FLOWAWR_RETURN_IF_ERROR(CheckBytes(line));
  v1::Prompt prompt;
  if (is_json) {
    const absl::StatusOr<json> object = ParseJson(line);
    if (!object.ok()) return ExplainJsonLine(object.status(), line);
    FLOWAWR_ASSIGN_OR_RETURN(prompt, FromJson(*object));
  } else {
    const std::string another = LooksLikeAnotherForm(line, is_first);
    if (!another.empty()) return absl::InvalidArgumentError(another);
    prompt.set_text(std::string(line));
  }
  FLOWAWR_RETURN_IF_ERROR(CheckPrompt(prompt));
  return prompt;
}

// Takes the first row of a table as its `header`.
absl::Status CheckHeader(const std::vector<std::string>& cells, std::vector<std::string>& header) {
  for (const std::string& cell : cells) FLOWAWR_RETURN_IF_ERROR(CheckBytes(cell));
  header = cells;
  for (std::string& name : header) name = std::string(absl::StripAsciiWhitespace(name));
  for (const std::string& name : header)
    if (name != "prompt" && absl::EqualsIgnoreCase(name, "prompt"))
      return absl::InvalidArgumentError(absl::StrCat("a column is called \"", name, "\"; call it \"prompt\""));
  if (header.size() == 1 && absl::StrContains(header[0], ';'))
    return absl::InvalidArgumentError(
        "the columns are separated by semicolons; save the table with commas, or with tabs as *.tsv");
  if (std::find(header.begin(), header.end(), "prompt") == header.end())
    return absl::InvalidArgumentError(
        absl::StrCat("the first line must name the columns, one of them prompt; there are: ",
                     TruncateUtf8(absl::StrJoin(header, ", "), 200)));
  if (std::set<std::string>(header.begin(), header.end()).size() != header.size())
    return absl::InvalidArgumentError("two columns have the same name");
  return absl::OkStatus();
}

// A row of a table as a JSON object that is a good prompt.
absl::StatusOr<std::string> ObjectOfRow(const std::vector<std::string>& header, const std::vector<std::string>& cells) {
  for (const std::string& cell : cells) FLOWAWR_RETURN_IF_ERROR(CheckBytes(cell));
  if (cells.size() != header.size())
    return absl::InvalidArgumentError(absl::StrCat("the row has ", cells.size(), " cells, the header ", header.size(),
                                                   "; a cell that holds the separator needs double quotes"));
  json object = json::object();
  for (size_t i = 0; i < cells.size(); ++i)
    if (!cells[i].empty() || header[i] == "prompt") object[header[i]] = cells[i];
  std::string bytes = object.dump();
  FLOWAWR_RETURN_IF_ERROR(ParseLine(bytes, true, false).status());
  return bytes;
}

absl::string_view WithoutMark(absl::string_view text) {
  absl::ConsumePrefix(&text, "\xEF\xBB\xBF");
  return text;
}

}  // namespace

absl::StatusOr<PromptSet> PromptSet::Load(const std::string& path, std::vector<PromptFault>* faults) {
  PromptSet set;
  set.path_ = path;
  FLOWAWR_ASSIGN_OR_RETURN(set.bytes_, ReadFile(path, kMaxFileBytes));
  const auto refuse = [faults](const std::string& where, const absl::Status& why) {
    if (faults == nullptr) return Annotate(why, where);
    faults->push_back({where, std::string(why.message())});
    return absl::OkStatus();
  };
  if (absl::StrContains(set.bytes_, '\r') && !absl::StrContains(set.bytes_, '\n') &&
      !absl::EndsWithIgnoreCase(path, ".json"))
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": its lines end in a carriage return alone, as of old Macs; save it with Unix line ends (tr '\\r' '\\n')"));
  absl::Status status;
  if (absl::EndsWithIgnoreCase(path, ".json")) {
    status = set.AddArray(refuse);
  } else if (absl::EndsWithIgnoreCase(path, ".csv") || absl::EndsWithIgnoreCase(path, ".tsv")) {
    status = set.AddTable(absl::EndsWithIgnoreCase(path, ".csv") ? ',' : '\t', refuse);
  } else {
    status = set.AddLines(absl::EndsWithIgnoreCase(path, ".jsonl") ? Form::kJson : Form::kText, refuse);
  }
  FLOWAWR_RETURN_IF_ERROR(status);
  if (set.empty() && (faults == nullptr || faults->empty()))
    return absl::InvalidArgumentError(absl::StrCat(path, ": holds no prompt"));
  set.starts_.shrink_to_fit();
  return set;
}

absl::Status PromptSet::AddLines(Form form, Refuse refuse) {
  form_ = form;
  const absl::string_view all = bytes_;
  const absl::string_view text = WithoutMark(all);
  int line_number = 0;
  bool is_first = true;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || (form == Form::kText && IsComment(line))) continue;
    const absl::Status status = ParseLine(line, form == Form::kJson, is_first).status();
    is_first = false;
    if (status.ok()) {
      starts_.push_back(static_cast<uint32_t>(line.data() - all.data()));
    } else {
      FLOWAWR_RETURN_IF_ERROR(refuse(absl::StrCat(path_, ":", line_number), status));
    }
  }
  return absl::OkStatus();
}

absl::Status PromptSet::AddTable(char separator, Refuse refuse) {
  form_ = Form::kJson;
  const std::string file = std::exchange(bytes_, {});
  CsvReader reader(WithoutMark(file), separator);
  std::vector<std::string> header;
  while (true) {
    const int line = reader.line();
    const std::string where = absl::StrCat(path_, ":", line);
    const absl::StatusOr<std::optional<std::vector<std::string>>> row = reader.Next();
    if (!row.ok()) return refuse(where, row.status());  // where a row ends is not known
    if (!row->has_value()) return absl::OkStatus();
    const std::vector<std::string>& cells = **row;
    if (header.empty()) {
      FLOWAWR_RETURN_IF_ERROR(Annotate(CheckHeader(cells, header), where));
      continue;
    }
    const absl::StatusOr<std::string> bytes = ObjectOfRow(header, cells);
    if (!bytes.ok()) {
      FLOWAWR_RETURN_IF_ERROR(refuse(where, bytes.status()));
      continue;
    }
    starts_.push_back(static_cast<uint32_t>(bytes_.size()));
    places_.push_back(static_cast<uint32_t>(line));
    absl::StrAppend(&bytes_, *bytes, "\n");
    if (bytes_.size() > kMaxFileBytes)
      return Annotate(absl::ResourceExhaustedError("the table is too large"), where);
  }
}

absl::Status PromptSet::AddArray(Refuse refuse) {
  form_ = Form::kJson;
  const std::string file = std::exchange(bytes_, {});
  if (file.size() > kMaxArrayBytes)
    return absl::InvalidArgumentError(absl::StrCat(path_, ": has ", file.size(), " bytes, an array at most ",
                                                   kMaxArrayBytes, "; write one object a line and name it *.jsonl"));
  if (const auto bad = FindInvalidUtf8(file); bad.has_value())
    return absl::InvalidArgumentError(absl::StrCat(path_, ": byte ", *bad + 1, " is not UTF-8"));
  const absl::StatusOr<json> array = ParseJson(WithoutMark(file));
  if (!array.ok()) return Annotate(array.status(), path_);
  if (!array->is_array())
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": expected one array of objects; name a file with one object a line *.jsonl"));
  uint32_t number = 0;
  for (const json& element : *array) {
    ++number;
    const std::string bytes = (element.is_string() ? json{{"prompt", element}} : element).dump();
    if (const absl::Status status = ParseLine(bytes, true, false).status(); !status.ok()) {
      FLOWAWR_RETURN_IF_ERROR(refuse(absl::StrCat(path_, ": prompt ", number), status));
      continue;
    }
    places_.push_back(number);
    starts_.push_back(static_cast<uint32_t>(bytes_.size()));
    absl::StrAppend(&bytes_, bytes, "\n");
  }
  return absl::OkStatus();
}

absl::string_view PromptSet::Bytes(size_t i) const {
  const absl::string_view rest = absl::string_view(bytes_).substr(starts_[i]);
  return absl::StripAsciiWhitespace(rest.substr(0, rest.find('\n')));
}

v1::Prompt PromptSet::At(size_t i) const {
  // It was parsed before, when the file was read.
  v1::Prompt prompt = ParseLine(Bytes(i), form_ == Form::kJson, false).value();
  prompt.set_index(indices_.empty() ? i : indices_[i]);
  return prompt;
}

std::string PromptSet::Where(size_t i) const {
  if (absl::EndsWithIgnoreCase(path_, ".json")) return absl::StrCat(path_, ": prompt ", places_[i]);
  const auto line = places_.empty() ? 1 + std::count(bytes_.begin(), bytes_.begin() + starts_[i], '\n')
                                    : static_cast<int64_t>(places_[i]);
  return absl::StrCat(path_, ":", line);
}

PromptSet PromptSet::Without(const std::vector<uint64_t>& left_out) && {
  PromptSet rest = std::move(*this);
  if (left_out.empty()) return rest;
  std::vector<uint32_t> starts, places, indices;
  auto next = left_out.begin();
  for (size_t i = 0; i < rest.starts_.size(); ++i) {
    const uint64_t index = rest.indices_.empty() ? i : rest.indices_[i];
    while (next != left_out.end() && *next < index) ++next;
    if (next != left_out.end() && *next == index) continue;
    starts.push_back(rest.starts_[i]);
    if (!rest.places_.empty()) places.push_back(rest.places_[i]);
    indices.push_back(static_cast<uint32_t>(index));
  }
  rest.starts_ = std::move(starts);
  rest.places_ = std::move(places);
  rest.indices_ = std::move(indices);
  return rest;
}

v1::PromptSetRecord PromptSet::Record() const {
  v1::PromptSetRecord record;
  record.set_prompts(size());
  const size_t block = std::max<size_t>(1, (size() + kMaxRecordBlocks - 1) / kMaxRecordBlocks);
  Sha256Hasher all;
  Sha256Hasher part;
  for (size_t i = 0; i < size(); ++i) {
    const absl::string_view bytes = Bytes(i);
    all.Update(bytes);
    all.Update("\n");
    part.Update(bytes);
    part.Update("\n");
    if ((i + 1) % block != 0 && i + 1 != size()) continue;
    record.add_block_digests(absl::BytesToHexString(part.Finish()).substr(0, 8));
    part = Sha256Hasher();
  }
  record.set_sha256(absl::BytesToHexString(all.Finish()));
  return record;
}

std::string DescribeChange(const v1::PromptSetRecord& then, const PromptSet& now) {
  constexpr int kMostListed = 20;
  const v1::PromptSetRecord record = now.Record();
  if (record.sha256() == then.sha256() && record.prompts() == then.prompts()) return "";
  std::string text = then.prompts() == now.size()
                         ? absl::StrCat("of its ", now.size(), " prompts some are not what they were")
                         : absl::StrCat("it had ", then.prompts(), " prompts and has ", now.size());
  const auto block_of = [](uint64_t prompts) {
    return std::max<uint64_t>(1, (prompts + kMaxRecordBlocks - 1) / kMaxRecordBlocks);
  };
  const uint64_t block = block_of(now.size());
  if (block != block_of(then.prompts())) return text;
  int changed = 0;
  for (int i = 0; i < record.block_digests_size(); ++i) {
    if (i < then.block_digests_size() && record.block_digests(i) == then.block_digests(i)) continue;
    if (++changed > kMostListed) continue;
    const uint64_t first = i * block, last = std::min<uint64_t>(first + block, now.size()) - 1;
    absl::StrAppend(&text, "\n    ", now.Where(first));
    if (last > first) {
      absl::StrAppend(&text, " to ", now.Where(last));
    } else {
      absl::StrAppend(&text, ": ", TruncateUtf8(now.At(first).text(), 100));
    }
  }
  if (changed > kMostListed) absl::StrAppend(&text, "\n    and ", changed - kMostListed, " more");
  return text;
}

}  // namespace flowawr
