// safetensors files: read strictly (see safetensors_header.h for what is refused), written deterministically.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace flowawr {

// By name: what the tensor is, for messages that begin with `tensor "NAME" is `.
using UnusableTensors = std::map<std::string, std::string>;

// The tensors of one file. They view the file's bytes and keep them alive, so they may outlive this object.
// Immutable and thread-safe. Writing into a tensor of a mapped file changes this process's copy, never the file.
class SafetensorsFile {
 public:
  // Maps the file. Cut short while it is in use, it ends the process with a message that names it (MappedFile). Every
  // file that this project writes is replaced by rename, which is safe. NotFound, or InvalidArgument for a malformed
  // one.
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  // The same from bytes in memory, e.g. a blob that came over the network.
  static absl::StatusOr<SafetensorsFile> Parse(std::string bytes, std::string name_for_errors);
  // Of bytes that others have as well: nobody may write into the tensors.
  static absl::StatusOr<SafetensorsFile> Parse(std::shared_ptr<const std::string> bytes, std::string name_for_errors);

  const std::map<std::string, at::Tensor>& tensors() const { return tensors_; }
  // What else the file holds, and what it is ("F4 [8,64], which cannot be used here"): tensors of dtypes and shapes
  // that nothing computes with. They are no fault as long as nobody needs them.
  const UnusableTensors& unusable() const { return unusable_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // The tensor with exactly this type and shape; NotFound or InvalidArgument that names the file, the tensor, what it
  // is and what was expected.
  absl::StatusOr<at::Tensor> Get(const std::string& name, at::ScalarType dtype, at::IntArrayRef shape) const;

 private:
  std::string name_;
  std::map<std::string, at::Tensor> tensors_;
  UnusableTensors unusable_;
  std::map<std::string, std::string> metadata_;
};

// Whether the tensor views a mapped file. The memory of such a tensor is the kernel's to manage, page by page:
// - ReadPages reads them now, in one go, instead of one by one when they are touched;
// - DropPages gives them back; they are read from the file again if they are needed, and what was written into the
//   tensor is lost. Pages that neighbours share stay.
// Neither does anything to other tensors.
bool IsMapped(const at::Tensor& tensor);
void ReadPages(const at::Tensor& tensor);
void DropPages(const at::Tensor& tensor);

// The same tensors and metadata give the same bytes on every machine. Tensors are copied to contiguous CPU memory as
// needed; "format": "pt" is added to the metadata, as transformers expects. InvalidArgument for a dtype that the format
// lacks.
absl::StatusOr<std::string> SerializeSafetensors(const std::map<std::string, at::Tensor>& tensors,
                                                 const std::map<std::string, std::string>& metadata = {});

// Serializes and writes atomically, see WriteFileAtomically().
absl::Status WriteSafetensors(const std::string& path, const std::map<std::string, at::Tensor>& tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace flowawr
