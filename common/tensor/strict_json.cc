#include "common/tensor/strict_json.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

using nlohmann::json;

// Builds the document from the parser's events; an event that returns false ends the parse.
class Builder : public nlohmann::json_sax<json> {
 public:
  explicit Builder(size_t max_depth) : max_depth_(max_depth) {}

  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(number_integer_t value) override { return Add(value); }
  bool number_unsigned(number_unsigned_t value) override { return Add(value); }
  bool number_float(number_float_t value, const string_t&) override { return Add(value); }
  bool string(string_t& value) override { return Add(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return Open(json::object()); }
  bool start_array(size_t) override { return Open(json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& value) override {
    if (open_.back()->contains(value)) {
      error_ = absl::StrCat("the key \"", value, "\" is there twice in one object");
      return false;
    }
    key_ = std::move(value);
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    error_ = absl::StrCat("not JSON at byte ", position, ": ", error.what());
    return false;
  }

  json& root() { return root_; }
  const std::string& error() const { return error_; }

 private:
  json* Place(json&& value) {
    if (open_.empty()) return &(root_ = std::move(value));
    json& parent = *open_.back();
    if (parent.is_object()) return &(parent[key_] = std::move(value));
    parent.push_back(std::move(value));
    return &parent.back();
  }
  bool Add(json&& value) {
    Place(std::move(value));
    return true;
  }
  bool Open(json&& value) {
    if (open_.size() == max_depth_) {
      error_ = absl::StrCat("nested deeper than ", max_depth_, " levels");
      return false;
    }
    open_.push_back(Place(std::move(value)));
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }

  const size_t max_depth_;
  json root_;
  std::vector<json*> open_;  // the containers around the current position, outermost first
  std::string key_;
  std::string error_;
};

}  // namespace

absl::StatusOr<json> ParseStrictJson(absl::string_view text, absl::string_view name, int max_depth) {
  // The parser takes a NUL for the end of the text and would overlook what follows.
  if (const size_t nul = text.find('\0'); nul != text.npos)
    return absl::InvalidArgumentError(absl::StrCat(name, ": not JSON at byte ", nul, ": a NUL byte"));
  Builder builder(max_depth);
  if (!json::sax_parse(text.begin(), text.end(), &builder))
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", builder.error()));
  return std::move(builder.root());
}

absl::StatusOr<json> ReadStrictJson(const std::string& path, size_t max_bytes) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, max_bytes));
  return ParseStrictJson(text, path);
}

}  // namespace flowawr
