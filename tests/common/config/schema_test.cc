#include "common/config/schema.h"

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "common/config/resume_fields.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

TEST(FindField, LooksIntoSections) {
  EXPECT_EQ(FindField(*v1::RunConfig::descriptor(), "learning_rate"), "optimizer.learning_rate");
  EXPECT_EQ(FindField(*v1::RunConfig::descriptor(), "no_such_field"), "");
}

TEST(FormatNumber, WritesWhatReadsBack) {
  EXPECT_EQ(FormatNumber(0.0003), "0.0003");
  EXPECT_EQ(FormatNumber(100000000), "100000000");
  EXPECT_EQ(FormatNumber(-2.5), "-2.5");
  EXPECT_EQ(std::stod(FormatNumber(0.1 + 0.2)), 0.1 + 0.2);
}

// Every field of every section, for the checks of the schema itself.
void ForEachField(const Descriptor& type, const std::function<void(const FieldDescriptor&)>& visit) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    visit(field);
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field.is_map())
      ForEachField(*field.message_type(), visit);
  }
}

TEST(Schema, ExplainsEveryFieldAndBoundsEveryNumber) {
  int fields = 0;
  ForEachField(*v1::RunConfig::descriptor(), [&](const FieldDescriptor& field) {
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field.is_map()) return;
    if (!RuleOf(field).moved_to().empty()) return;  // an older name
    ++fields;
    EXPECT_FALSE(RuleOf(field).help().empty()) << field.full_name() << " has no help";
    const bool is_number =
        field.cpp_type() == FieldDescriptor::CPPTYPE_INT32 || field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE;
    EXPECT_EQ(is_number, RuleOf(field).has_min() && RuleOf(field).has_max()) << field.full_name();
  });
  EXPECT_GT(fields, 60);
}

// Whether `path` is a field free on resume, or in a section that is.
bool IsFreeOnResume(const std::string& path) {
  for (const ResumeField& free : FieldsFreeOnResume())
    if (path == free.path || absl::StartsWith(path, free.path + ".")) return true;
  return false;
}

void ForEachPath(const Descriptor& type, const std::string& prefix,
                 const std::function<void(const std::string&, const FieldDescriptor&)>& visit) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string path = prefix + field.name();
    visit(path, field);
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field.is_map())
      ForEachPath(*field.message_type(), path + ".", visit);
  }
}

// A checkpoint of an older version has 0 there, which nobody can tell from a 0 that was meant.
TEST(Schema, WhatOlderCheckpointsDoNotKnowTakesItsDefaultWhenARunIsResumed) {
  std::vector<std::string> ambiguous;
  ForEachPath(*v1::RunConfig::descriptor(), "", [&](const std::string& path, const FieldDescriptor& field) {
    const v1::FieldRule& rule = RuleOf(field);
    if (!rule.has_default_value() || field.is_repeated() || field.has_presence() || IsFreeOnResume(path)) return;
    const bool may_be_zero = field.cpp_type() != FieldDescriptor::CPPTYPE_ENUM &&
                             field.cpp_type() != FieldDescriptor::CPPTYPE_STRING && !(rule.has_min() && rule.min() > 0);
    if (may_be_zero && rule.default_value() != "0" && rule.default_value() != "false") ambiguous.push_back(path);
  });
  // Those that every checkpoint has; behaviour_decay, compared only with behaviour: fixed, which is as old; sections of
  // algorithms, written as a whole by the versions that know them; guidance_scale, whose 0 is its 1.
  EXPECT_THAT(ambiguous,
              ::testing::UnorderedElementsAre(
                  "seed", "sampler.guidance_scale", "rewards.terms.weight", "rewards.terms.is_required",
                  "algorithm.average_decay_cap", "algorithm.behaviour_decay", "algorithm.flow_awr.kl_beta",
                  "algorithm.diffusion_nft.kl_beta", "algorithm.flow_grpo.kl_beta", "algorithm.awm.kl_beta",
                  "algorithm.awm.old_beta", "algorithm.rwr.kl_beta", "optimizer.learning_rate", "optimizer.beta1",
                  "optimizer.beta2", "optimizer.weight_decay", "optimizer.max_grad_norm"))
      << "a new one must be `optional`, and FillIn() of algorithm_options.cc fill it in where it is absent";
}

TEST(FieldsFreeOnResume, AreFieldsOfTheSchema) {
  std::set<std::string> paths;
  ForEachPath(*v1::RunConfig::descriptor(), "",
              [&](const std::string& path, const FieldDescriptor&) { paths.insert(path); });
  for (const ResumeField& free : FieldsFreeOnResume()) EXPECT_TRUE(paths.contains(free.path)) << free.path;
}

TEST(FieldsFreeOnResume, AreClearedAlsoWithinLists) {
  v1::RunConfig config;
  config.set_seed(3);
  config.mutable_train()->set_updates(5);
  config.mutable_train()->set_micro_batch(7);
  for (const char* endpoint : {"a:1", "b:1"}) {
    v1::RewardTerm& term = *config.mutable_rewards()->add_terms();
    term.set_scorer("ocr");
    term.set_endpoint(endpoint);
  }
  ClearFieldsFreeOnResume(&config);
  EXPECT_EQ(config.seed(), 3u);
  EXPECT_EQ(config.train().updates(), 0);
  EXPECT_EQ(config.train().micro_batch(), 7);
  for (const v1::RewardTerm& term : config.rewards().terms()) {
    EXPECT_EQ(term.scorer(), "ocr");
    EXPECT_EQ(term.endpoint(), "");
  }
}

}  // namespace
}  // namespace flowawr
