#include "common/sd3/scheduler.h"

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/sd3/config_fields.h"

namespace flowawr {

absl::StatusOr<SchedulerConfig> SchedulerConfig::Load(const std::string& folder) {
  FLOWAWR_ASSIGN_OR_RETURN(ConfigFields fields, ConfigFields::Load(absl::StrCat(folder, "/scheduler_config.json")));
  fields.RequireClass("FlowMatchEulerDiscreteScheduler", /*may_be_absent=*/false);
  SchedulerConfig config;
  config.shift = fields.Number("shift", 1.0);
  fields.Require(config.shift > 0, "shift must be positive");
  config.num_train_timesteps = fields.Int("num_train_timesteps", 1000, 1, 1000000);
  for (const char* field : {"use_dynamic_shifting", "shift_terminal", "use_karras_sigmas", "use_exponential_sigmas",
                            "use_beta_sigmas", "invert_sigmas", "stochastic_sampling"})
    fields.MustBeOff(field);
  // Of dynamic shifting, which is off.
  for (const char* field : {"base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len", "time_shift_type"})
    fields.Ignore(field);
  fields.RefuseUnknown();
  FLOWAWR_RETURN_IF_ERROR(fields.Finish());
  return config;
}

}  // namespace flowawr
