#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "learner/algorithm/algorithm.h"
#include "learner/algorithm/awm.h"
#include "learner/algorithm/diffusion_nft.h"
#include "learner/algorithm/flow_awr.h"
#include "learner/algorithm/flow_grpo.h"
#include "learner/algorithm/rwr.h"

namespace flowawr {
namespace {

using Made = absl::StatusOr<std::unique_ptr<const Algorithm>>;

template <typename Method>
Made Make(const v1::RunConfig& config, std::vector<float> sigmas) {
  return std::make_unique<const Method>(config, std::move(sigmas));
}

struct Entry {
  absl::string_view section;  // in AlgorithmConfig
  Made (*make)(const v1::RunConfig& config, std::vector<float> sigmas);
};

// The first is that of configurations that name none.
constexpr Entry kMethods[] = {
    {"flow_awr", Make<FlowAwr>},
    {"diffusion_nft", Make<DiffusionNft>},
    {"flow_grpo", FlowGrpo::Make},
    {"awm", Make<Awm>},
    {"rwr", Make<Rwr>},
};

}  // namespace

Made MakeAlgorithm(const v1::RunConfig& config, std::vector<float> sigmas) {
  const v1::AlgorithmConfig& algorithm = config.algorithm();
  const google::protobuf::FieldDescriptor* section =
      algorithm.GetReflection()->GetOneofFieldDescriptor(algorithm, algorithm.GetDescriptor()->FindOneofByName("method"));
  const absl::string_view name = section == nullptr ? kMethods[0].section : absl::string_view(section->name());
  for (const Entry& entry : kMethods)
    if (entry.section == name) return entry.make(config, std::move(sigmas));
  return absl::InternalError(absl::StrCat("algorithm.", name, " has no line in learner/algorithm/registry.cc"));
}

}  // namespace flowawr
