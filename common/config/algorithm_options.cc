#include "common/config/algorithm_options.h"

#include <algorithm>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/config/schema.h"

namespace flowawr {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

const FieldDescriptor& ChosenSection(const v1::AlgorithmConfig& algorithm) {
  const google::protobuf::OneofDescriptor* method = algorithm.GetDescriptor()->FindOneofByName("method");
  const FieldDescriptor* chosen = algorithm.GetReflection()->GetOneofFieldDescriptor(algorithm, method);
  return chosen == nullptr ? *method->field(0) : *chosen;
}

// To where the field of that path, a number or an enum, is now, when it is set; the older name is empty afterwards.
void Move(const FieldDescriptor& field, Message& message) {
  const Reflection& reflection = *message.GetReflection();
  if (!reflection.HasField(message, &field)) return;
  const std::vector<std::string> steps = absl::StrSplit(RuleOf(field).moved_to(), '.');
  Message* owner = &message;
  for (size_t i = 0; i + 1 < steps.size(); ++i)
    owner = owner->GetReflection()->MutableMessage(owner, owner->GetDescriptor()->FindFieldByName(steps[i]));
  const FieldDescriptor* now = owner->GetDescriptor()->FindFieldByName(steps.back());
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM)
    owner->GetReflection()->SetEnumValue(owner, now, reflection.GetEnumValue(message, &field));
  else
    owner->GetReflection()->SetDouble(owner, now, reflection.GetDouble(message, &field));
  reflection.ClearField(&message, &field);
}

// What has a default and cannot be 0, but is.
void FillIn(const FieldDescriptor& field, Message& message) {
  const v1::FieldRule& rule = RuleOf(field);
  const Reflection& reflection = *message.GetReflection();
  if (!rule.has_default_value() || field.is_repeated() || reflection.HasField(message, &field)) return;
  const bool is_impossible = rule.has_min() && rule.min() > 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection.SetEnum(&message, &field, field.enum_type()->FindValueByName(rule.default_value()));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      if (double value = 0; is_impossible && absl::SimpleAtod(rule.default_value(), &value))
        reflection.SetDouble(&message, &field, value);
      return;
    case FieldDescriptor::CPPTYPE_INT32:
      if (int value = 0; is_impossible && absl::SimpleAtoi(rule.default_value(), &value))
        reflection.SetInt32(&message, &field, value);
      return;
    default:
      return;
  }
}

void BringUpToDate(Message& message) {
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < type.field_count(); ++i)
    if (!RuleOf(*type.field(i)).moved_to().empty()) Move(*type.field(i), message);
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (!RuleOf(field).moved_to().empty() || field.is_map()) continue;
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      FillIn(field, message);
    } else if (field.is_repeated()) {
      for (int element = 0; element < reflection.FieldSize(message, &field); ++element)
        BringUpToDate(*reflection.MutableRepeatedMessage(&message, &field, element));
    } else if (field.real_containing_oneof() == nullptr || reflection.HasField(message, &field)) {
      BringUpToDate(*reflection.MutableMessage(&message, &field));
    }
  }
}

}  // namespace

std::string AlgorithmName(const v1::AlgorithmConfig& algorithm) { return ChosenSection(algorithm).name(); }

const v1::AlgorithmTraits& TraitsOf(const v1::AlgorithmConfig& algorithm) {
  return ChosenSection(algorithm).message_type()->options().GetExtension(v1::algorithm);
}

double KlBeta(const v1::AlgorithmConfig& algorithm) {
  const Message& section = algorithm.GetReflection()->GetMessage(algorithm, &ChosenSection(algorithm));
  return section.GetReflection()->GetDouble(section, section.GetDescriptor()->FindFieldByName("kl_beta"));
}

void FillInAlgorithmDefaults(v1::AlgorithmConfig* algorithm) {
  const v1::AlgorithmTraits& traits = TraitsOf(*algorithm);
  if (algorithm->behaviour() == v1::BEHAVIOUR_SCHEDULE_UNSPECIFIED) algorithm->set_behaviour(traits.behaviour());
  if (algorithm->updates_per_batch() == 0) algorithm->set_updates_per_batch(traits.steps_per_batch());
}

bool ComputesOld(const v1::RunConfig& config) {
  const v1::AlgorithmConfig& algorithm = config.algorithm();
  const bool may_differ = algorithm.behaviour() != v1::CURRENT || config.rollout().max_staleness() > 0 ||
                          algorithm.updates_per_batch() > 1;
  return TraitsOf(algorithm).compares_with_old() && may_differ;
}

bool ComputesReference(const v1::RunConfig& config) { return KlBeta(config.algorithm()) > 0; }

void BringUpToDate(v1::RunConfig* config) {
  BringUpToDate(static_cast<Message&>(*config));
  FillInAlgorithmDefaults(config->mutable_algorithm());
  if (config->algorithm().method_case() == v1::AlgorithmConfig::METHOD_NOT_SET)
    BringUpToDate(static_cast<Message&>(*config->mutable_algorithm()->mutable_flow_awr()));
  // As long as nothing reads it, it is what it is elsewhere: nothing.
  if (config->sampler().guidance_scale() == 0) config->mutable_sampler()->set_guidance_scale(1);
}

}  // namespace flowawr
