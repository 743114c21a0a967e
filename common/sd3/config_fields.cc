#include "common/sd3/config_fields.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

bool IsIntWithin(const nlohmann::json& value, int64_t min, int64_t max) {
  if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX)) return false;
  return value.get<int64_t>() >= min && value.get<int64_t>() <= max;
}

bool IsString(const nlohmann::json& value) { return value.is_string(); }

// Fields of transformers' PretrainedConfig, of this and earlier versions, and dropout: an encoder that is not trained
// and generates nothing is the same whatever they hold.
constexpr const char* kTransformersNotes[] = {"attention_dropout",
                                              "attn_implementation",
                                              "bad_words_ids",
                                              "begin_suppress_tokens",
                                              "bos_token_id",
                                              "chunk_size_feed_forward",
                                              "classifier_dropout",
                                              "cross_attention_hidden_size",
                                              "decoder_start_token_id",
                                              "diversity_penalty",
                                              "do_sample",
                                              "dropout",
                                              "dropout_rate",
                                              "dtype",
                                              "early_stopping",
                                              "encoder_no_repeat_ngram_size",
                                              "eos_token_id",
                                              "exponential_decay_length_penalty",
                                              "finetuning_task",
                                              "forced_bos_token_id",
                                              "forced_eos_token_id",
                                              "gradient_checkpointing",
                                              "id2label",
                                              "initializer_factor",
                                              "initializer_range",
                                              "is_encoder_decoder",
                                              "label2id",
                                              "length_penalty",
                                              "max_length",
                                              "min_length",
                                              "no_repeat_ngram_size",
                                              "num_beam_groups",
                                              "num_beams",
                                              "num_return_sequences",
                                              "output_attentions",
                                              "output_hidden_states",
                                              "output_past",
                                              "output_scores",
                                              "pad_token_id",
                                              "prefix",
                                              "problem_type",
                                              "remove_invalid_values",
                                              "repetition_penalty",
                                              "return_dict",
                                              "return_dict_in_generate",
                                              "sep_token_id",
                                              "suppress_tokens",
                                              "task_specific_params",
                                              "temperature",
                                              "tf_legacy_loss",
                                              "tie_encoder_decoder",
                                              "tie_word_embeddings",
                                              "tokenizer_class",
                                              "top_k",
                                              "top_p",
                                              "torch_dtype",
                                              "torchscript",
                                              "transformers_version",
                                              "typical_p",
                                              "use_cache"};

}  // namespace

absl::StatusOr<ConfigFields> ConfigFields::Load(const std::string& path) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, size_t{64} << 20));
  return Parse(text, path);
}

absl::StatusOr<ConfigFields> ConfigFields::Parse(absl::string_view text, const std::string& name_for_errors) {
  ConfigFields fields;
  FLOWAWR_ASSIGN_OR_RETURN(fields.json_, ParseStrictJson(text, name_for_errors));
  if (!fields.json_.is_object())
    return absl::InvalidArgumentError(absl::StrCat(name_for_errors, ": expected an object"));
  fields.name_ = name_for_errors;
  return fields;
}

const nlohmann::json* ConfigFields::Find(const std::string& field) {
  known_.insert(field);
  const auto found = json_.find(field);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

void ConfigFields::WrongType(const std::string& field, absl::string_view expected) {
  complaints_.push_back(absl::StrCat(field, " must be ", expected, "; it is ", json_[field].dump()));
}

int64_t ConfigFields::Int(const std::string& field, int64_t fallback, int64_t min, int64_t max) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  if (IsIntWithin(*value, min, max)) return value->get<int64_t>();
  WrongType(field, absl::StrCat("a whole number from ", min, " to ", max));
  return fallback;
}

double ConfigFields::Number(const std::string& field, double fallback, double min) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  if (value->is_number() && value->get<double>() >= min) return value->get<double>();
  WrongType(field, min > -1e300 ? absl::StrCat("a number from ", min) : "a number");
  return fallback;
}

bool ConfigFields::Bool(const std::string& field, bool fallback) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  WrongType(field, "true or false");
  return fallback;
}

std::string ConfigFields::String(const std::string& field, const std::string& fallback) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  if (value->is_string()) return value->get<std::string>();
  WrongType(field, "a string");
  return fallback;
}

std::vector<int64_t> ConfigFields::Ints(const std::string& field, std::vector<int64_t> fallback) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  const auto is_size = [](const nlohmann::json& item) { return IsIntWithin(item, 0, kMostInt); };
  if (value->is_array() && std::all_of(value->begin(), value->end(), is_size))
    return value->get<std::vector<int64_t>>();
  WrongType(field, absl::StrCat("a list of whole numbers from 0 to ", kMostInt));
  return fallback;
}

std::vector<std::string> ConfigFields::Strings(const std::string& field) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return {};
  if (value->is_array() && std::all_of(value->begin(), value->end(), IsString))
    return value->get<std::vector<std::string>>();
  WrongType(field, "a list of strings");
  return {};
}

void ConfigFields::MustBeOff(const std::string& field) {
  const nlohmann::json* value = Find(field);
  Require(value == nullptr || *value == false, absl::StrCat(field, " is set; it is not supported"));
}

void ConfigFields::Require(bool holds, absl::string_view complaint) {
  if (!holds) complaints_.push_back(std::string(complaint));
}

void ConfigFields::RequireClass(const std::string& class_name, bool may_be_absent) {
  const std::string found = String("_class_name", may_be_absent ? class_name : "");
  Require(found == class_name, absl::StrCat("_class_name is \"", found, "\", expected ", class_name));
}

void ConfigFields::RequireArchitecture(const std::string& class_name, const std::string& model_type) {
  for (const std::string& found : Strings("architectures"))
    Require(found == class_name, absl::StrCat("architectures names ", found, ", expected ", class_name));
  const std::string type = String("model_type", model_type);
  Require(type == model_type, absl::StrCat("model_type is \"", type, "\", expected \"", model_type, "\""));
}

void ConfigFields::IgnoreTransformersNotes() {
  for (const char* field : kTransformersNotes) Ignore(field);
  for (const char* field : {"add_cross_attention", "is_decoder", "use_bfloat16"}) MustBeOff(field);
  const nlohmann::json* pruned = Find("pruned_heads");
  Require(pruned == nullptr || pruned->empty(), "pruned_heads is set; it is not supported");
}

void ConfigFields::RefuseUnknown() {
  for (const auto& [field, value] : json_.items())
    Require(known_.contains(field) || value.is_null() || field.starts_with('_'),
            absl::StrCat("field \"", field, "\" is not known here and might change the result"));
}

absl::Status ConfigFields::Finish() const {
  if (complaints_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name_, ": ", absl::StrJoin(complaints_, "; ")));
}

}  // namespace flowawr
