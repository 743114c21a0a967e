#include "common/config/resume_fields.h"

#include "absl/strings/str_split.h"
#include "absl/types/span.h"

namespace flowawr {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void Clear(absl::Span<const std::string> steps, Message& message) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(steps[0]);
  const Reflection& reflection = *message.GetReflection();
  if (steps.size() == 1) return reflection.ClearField(&message, field);
  if (field->is_repeated()) {
    for (int i = 0; i < reflection.FieldSize(message, field); ++i)
      Clear(steps.subspan(1), *reflection.MutableRepeatedMessage(&message, field, i));
  } else if (reflection.HasField(message, field)) {
    Clear(steps.subspan(1), *reflection.MutableMessage(&message, field));
  }
}

}  // namespace

const std::vector<ResumeField>& FieldsFreeOnResume() {
  static const auto& fields = *new std::vector<ResumeField>{
      {"name", ""},
      {"run_dir", ""},
      {"model.path", "the model's fingerprint is compared instead"},
      {"model.embeds_cache", ""},
      {"model.deterministic", "on accelerators the last bits may change"},
      {"lora.init_from", "it counts when a run begins"},
      {"prompts", "what the files hold is compared instead"},
      {"sampler.graph_batch", "no bit depends on it"},
      {"rollout.lease_timeout_s", ""},
      {"rollout.max_attempts", ""},
      {"rewards.terms.endpoint", ""},
      {"rewards.terms.timeout_s", ""},
      {"rewards.terms.max_drop", ""},
      {"train.updates", "the run goes on to there; never to fewer than are done"},
      {"train.target_reward", ""},
      {"train.threads", "the sums' last bits may change"},
      {"train.checkpointed_blocks", ""},
      {"train.devices", "between unlike devices the last bits change"},
      {"train.ranks", "however many there are, the bits are the same"},
      {"train.rank_timeout_s", ""},
      {"train.on_lost_rank", ""},
      {"train.rank_transport", ""},
      {"train.on_bad_update", ""},
      {"train.max_loss", ""},
      {"evaluation", ""},
      {"checkpoint", ""},
      {"local", ""},
      {"network", ""},
      {"telemetry", ""},
  };
  return fields;
}

void ClearFieldsFreeOnResume(v1::RunConfig* config) {
  for (const ResumeField& field : FieldsFreeOnResume()) {
    const std::vector<std::string> steps = absl::StrSplit(field.path, '.');
    Clear(steps, *config);
  }
}

}  // namespace flowawr
