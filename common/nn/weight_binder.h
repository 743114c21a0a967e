// Binds the tensors of a weights file by name, and reports everything that does not fit in one error.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/nn/read_progress.h"
#include "common/nn/stacked_weight.h"
#include "common/tensor/placement.h"
#include "common/tensor/safetensors.h"
#include "common/tensor/weight_upload.h"

namespace flowawr {

// Not thread-safe; lives while a model is loaded.
//
// Beside what it hands out it keeps a few megabytes in memory, however large the file: a tensor is read when it is
// taken, and the pages of a mapped file are given back once its values are elsewhere. On the CPU a tensor that has the
// wanted type already is handed out as a view of the file, without a copy; for another device it is uploaded from there
// on the thread's current stream (weight_upload.h).
class WeightBinder {
 public:
  // `file` is named in errors. Tensors are converted and moved to `placement` when taken. `unusable` are those that cannot
  // be taken.
  WeightBinder(std::map<std::string, at::Tensor> tensors, Placement placement, std::string file,
               ReadProgress progress = nullptr, UnusableTensors unusable = {});

  // What OpenCheckpoint() finds; logs which variant of the weights it is.
  static absl::StatusOr<WeightBinder> Open(const std::string& folder, const std::string& stem, Placement placement,
                                           ReadProgress progress = nullptr);

  // Of no file: has every tensor that is asked for, all values alike. What is computed with them is
  // meaningless and takes the time of the real thing.
  static WeightBinder MadeUp(Placement placement);

  // The tensor called `name`. Missing, mis-shaped or not floating-point: an undefined tensor, and a line in Finish().
  at::Tensor Take(const std::string& name, at::IntArrayRef shape);

  // Several tensors under one another. Small ones, and those that must be converted or moved, are copied into one, filled
  // in place: no part of it is in memory twice. Large ones stay where they are. Undefined if one of them does not fit.
  struct Part {
    std::string name;
    int64_t rows;
  };
  StackedWeight TakeStacked(const std::vector<Part>& parts, at::IntArrayRef rest);

  // A tensor called `name` may be there; nobody takes it.
  void Ignore(const std::string& name) { taken_.insert(name); }

  // Adds a complaint about a tensor to Finish()'s error.
  void Refuse(const std::string& name, const std::string& complaint);

  bool Has(const std::string& name) const { return tensors_.contains(name); }
  const std::map<std::string, at::Tensor>& tensors() const { return tensors_; }

  // InvalidArgument that lists all complaints, and the tensors that nobody took. On a device it waits for the thread's
  // stream: whatever was taken, and made of that on this stream, is then there for every other one.
  absl::Status Finish();

 private:
  // The tensor as it is in the file; null, with a complaint, if it does not fit.
  const at::Tensor* Find(const std::string& name, at::IntArrayRef shape);
  // Gives back the pages of views that nobody kept: their values were rearranged into copies.
  void DropUnheldViews();
  // Fills `weight`, of the placement, with the values of `source`, which is as the file has it.
  void Fill(const at::Tensor& weight, const at::Tensor& source);
  bool IsAsWanted(const at::Tensor& source) const;
  void Report(const at::Tensor& read);

  std::map<std::string, at::Tensor> tensors_;
  UnusableTensors unusable_;
  Placement placement_;
  std::string file_;
  bool is_made_up_ = false;
  ReadProgress progress_;
  std::unique_ptr<WeightUpload> upload_;  // from the first tensor on that goes to another device
  int64_t total_ = 0;  // bytes
  int64_t read_ = 0;
  std::vector<const at::Tensor*> views_;  // that were handed out
  std::set<std::string> taken_;
  std::vector<std::string> complaints_;
};

}  // namespace flowawr
