// Loads the components that model_index.json names, one by one, and collects everything that is wrong with them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/nn/read_progress.h"
#include "common/telemetry/read_progress.h"

namespace flowawr {

class ComponentLoader {
 public:
  // Reads model_index.json of `folder`. `progress` may be null. InvalidArgument for an entry of a component that is
  // neither [library, class] nor [null, null].
  static absl::StatusOr<ComponentLoader> Open(const std::string& folder, ComponentProgress progress);

  const std::string& folder() const { return folder_; }

  // The component is named with a class that is not null.
  bool Has(const std::string& component) const;

  // Checks that model_index.json names the class which that component of a Stable Diffusion 3 pipeline has, and puts what `load(path, progress)` gives into `target`.
  template <typename Target, typename Load>
  void Add(const std::string& component, Target& target, Load&& load) {
    if (!Check(component)) return;
    ReadProgress progress;
    if (progress_) progress = [&](int64_t bytes, int64_t total) { progress_(component, bytes, total); };
    auto loaded = load(folder_ + "/" + component, std::move(progress));
    if (loaded.ok()) {
      target = *std::move(loaded);
    } else {
      Complain(component + ": " + std::string(loaded.status().message()));
    }
  }

  // The same complaint counts once: a file may be read for two purposes.
  void Complain(std::string complaint);

  // Complains unless `holds`.
  void Require(bool holds, std::string complaint) {
    if (!holds) Complain(std::move(complaint));
  }

  // InvalidArgument that lists all complaints, one a line.
  absl::Status Finish() const;

 private:
  ComponentLoader(std::string folder, nlohmann::json index, ComponentProgress progress)
      : folder_(std::move(folder)), index_(std::move(index)), progress_(std::move(progress)) {}

  bool Check(const std::string& component);

  std::string folder_;
  nlohmann::json index_;
  ComponentProgress progress_;
  std::vector<std::string> complaints_;
};

}  // namespace flowawr
