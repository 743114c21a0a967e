#include "common/tensor/safetensors.h"

#include <c10/util/accumulate.h>
#include <sys/mman.h>
#include <torch/types.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/internal/endian.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/atomic_file.h"
#include "common/base/file.h"
#include "common/base/mapped_file.h"
#include "common/base/status.h"
#include "common/tensor/safetensors_header.h"
#include "common/tensor/safetensors_stream.h"
#include "common/tensor/transfer.h"

namespace flowawr {
namespace {

constexpr std::pair<absl::string_view, at::ScalarType> kTypes[] = {{"F64", at::kDouble},
                                                                   {"F32", at::kFloat},
                                                                   {"F16", at::kHalf},
                                                                   {"BF16", at::kBFloat16},
                                                                   {"F8_E4M3", at::kFloat8_e4m3fn},
                                                                   {"F8_E5M2", at::kFloat8_e5m2},
                                                                   {"F8_E8M0", at::kFloat8_e8m0fnu},
                                                                   {"F8_E4M3FNUZ", at::kFloat8_e4m3fnuz},
                                                                   {"F8_E5M2FNUZ", at::kFloat8_e5m2fnuz},
                                                                   {"C64", at::kComplexFloat},
                                                                   {"I64", at::kLong},
                                                                   {"I32", at::kInt},
                                                                   {"I16", at::kShort},
                                                                   {"I8", at::kChar},
                                                                   {"U64", at::kUInt64},
                                                                   {"U32", at::kUInt32},
                                                                   {"U16", at::kUInt16},
                                                                   {"U8", at::kByte},
                                                                   {"BOOL", at::kBool}};

// nullopt for those that LibTorch cannot convert to others: F4, and the two F6, which it does not have.
std::optional<at::ScalarType> TypeOf(absl::string_view dtype) {
  for (const auto& [name, type] : kTypes)
    if (name == dtype) return type;
  return std::nullopt;
}

absl::StatusOr<absl::string_view> NameOf(at::ScalarType type) {
  for (const auto& [name, candidate] : kTypes)
    if (candidate == type) return name;
  return absl::InvalidArgumentError(absl::StrCat("safetensors has no dtype for ", c10::toString(type)));
}

// Owns the bytes that tensors view.
class Bytes {
 public:
  explicit Bytes(std::shared_ptr<const std::string> owned) : owned_(std::move(owned)) {}
  explicit Bytes(std::unique_ptr<const MappedFile> mapped) : mapped_(std::move(mapped)) {}

  bool is_mapped() const { return mapped_ != nullptr; }
  char* data() const { return is_mapped() ? mapped_->data() : const_cast<char*>(owned_->data()); }
  absl::string_view view() const { return {data(), is_mapped() ? mapped_->size() : owned_->size()}; }

 private:
  std::shared_ptr<const std::string> owned_;  // null: the bytes are mapped_
  std::unique_ptr<const MappedFile> mapped_;
};

// Frees what a storage views; also how it is known to be one of ours.
void LetGo(void* owner) { delete static_cast<std::shared_ptr<const Bytes>*>(owner); }

// Advises the kernel about the pages that lie wholly within the tensor (`is_generous`: that it touches at all).
bool AdvisePages(const at::Tensor& tensor, int advice, bool is_generous) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(tensor.const_data_ptr()), end = begin + tensor.nbytes();
  const uintptr_t first = (is_generous ? begin : begin + page - 1) / page * page;
  const uintptr_t last = (is_generous ? end + page - 1 : end) / page * page;
  return first >= last || madvise(reinterpret_cast<void*>(first), last - first, advice) == 0;
}

constexpr size_t kMaxDimensions = 64;  // as many as LibTorch's operations take

// Why the entry cannot become a tensor; empty if it can.
std::string WhyUnusable(const SafetensorsEntry& entry, absl::string_view content) {
  const size_t shown = std::min<size_t>(entry.shape.size(), kMaxDimensions);
  const std::string form =
      absl::StrCat(entry.dtype, " [",
                   absl::StrJoin(entry.shape.begin(), entry.shape.begin() + static_cast<ptrdiff_t>(shown), ","), "]");
  const std::optional<at::ScalarType> type = TypeOf(entry.dtype);
  if (!type.has_value()) return absl::StrCat(form, ", a type that cannot be used here");
  if (entry.shape.size() > kMaxDimensions)
    return absl::StrCat(form, " and more, ", entry.shape.size(), " dimensions, which is too many to be used here");
  // LibTorch computes strides with 0 taken for 1, as int64_t.
  int64_t strides = static_cast<int64_t>(c10::elementSize(*type));
  for (const uint64_t extent : entry.shape)
    if (extent > INT64_MAX ||
        __builtin_mul_overflow(strides, std::max<int64_t>(static_cast<int64_t>(extent), 1), &strides))
      return absl::StrCat(form, ", which is too large to be used here");
  if (*type == at::kBool && content.find_first_not_of(absl::string_view("\0\1", 2)) != content.npos)
    return absl::StrCat(form, " with a byte other than 0 and 1, which cannot be used here");
  return "";
}

struct Contents {
  std::map<std::string, at::Tensor> tensors;
  UnusableTensors unusable;
};

Contents MakeTensors(const std::shared_ptr<const Bytes>& bytes, const SafetensorsHeader& header) {
  Contents contents;
  for (const auto& [key, entry] : header.tensors) {
    char* data = bytes->data() + header.data_begin + entry.begin;
    const absl::string_view content(data, entry.end - entry.begin);
    if (std::string reason = WhyUnusable(entry, content); !reason.empty()) {
      contents.unusable[key] = std::move(reason);
      continue;
    }
    const at::ScalarType type = *TypeOf(entry.dtype);
    const std::vector<int64_t> shape(entry.shape.begin(), entry.shape.end());
    at::Tensor& tensor = contents.tensors[key];
    if (content.empty()) {
      tensor = at::empty(shape, type);
    } else if (reinterpret_cast<uintptr_t>(data) % c10::elementSize(type) == 0) {
      tensor = at::for_blob(data, shape)
                   .context(new std::shared_ptr<const Bytes>(bytes), &LetGo)
                   .options(type)
                   .make_tensor();
    } else {  // a writer that did not pad its header
      tensor = at::empty(shape, type);
      std::memcpy(tensor.data_ptr(), data, content.size());
    }
  }
  return contents;
}

std::string Describe(at::ScalarType dtype, at::IntArrayRef shape) {
  return absl::StrCat(c10::toString(dtype), " [", absl::StrJoin(shape, ","), "]");
}

}  // namespace

bool IsMapped(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.has_storage()) return false;
  const c10::DataPtr& data = tensor.storage().data_ptr();
  return data.get_deleter() == &LetGo && (*static_cast<std::shared_ptr<const Bytes>*>(data.get_context()))->is_mapped();
}

void ReadPages(const at::Tensor& tensor) {
  if (!IsMapped(tensor) || AdvisePages(tensor, MADV_POPULATE_READ, /*is_generous=*/true)) return;
  const auto* bytes = static_cast<const volatile char*>(tensor.const_data_ptr());  // a kernel before 5.14
  for (size_t i = 0; i < tensor.nbytes(); i += 4096) (void)bytes[i];
}

void DropPages(const at::Tensor& tensor) {
  if (IsMapped(tensor)) AdvisePages(tensor, MADV_DONTNEED, /*is_generous=*/false);
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  FLOWAWR_ASSIGN_OR_RETURN(std::unique_ptr<const MappedFile> mapped, MappedFile::Open(path));
  const auto bytes = std::make_shared<const Bytes>(std::move(mapped));
  FLOWAWR_ASSIGN_OR_RETURN(SafetensorsHeader header, ParseSafetensorsHeader(bytes->view(), path));
  SafetensorsFile file;
  Contents contents = MakeTensors(bytes, header);
  file.tensors_ = std::move(contents.tensors);
  file.unusable_ = std::move(contents.unusable);
  file.metadata_ = std::move(header.metadata);
  file.name_ = path;
  return file;
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Parse(std::string bytes, std::string name_for_errors) {
  return Parse(std::make_shared<const std::string>(std::move(bytes)), std::move(name_for_errors));
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Parse(std::shared_ptr<const std::string> bytes,
                                                       std::string name_for_errors) {
  auto owner = std::make_shared<const Bytes>(std::move(bytes));
  FLOWAWR_ASSIGN_OR_RETURN(SafetensorsHeader header, ParseSafetensorsHeader(owner->view(), name_for_errors));
  SafetensorsFile file;
  Contents contents = MakeTensors(owner, header);
  file.tensors_ = std::move(contents.tensors);
  file.unusable_ = std::move(contents.unusable);
  file.metadata_ = std::move(header.metadata);
  file.name_ = std::move(name_for_errors);
  return file;
}

absl::StatusOr<at::Tensor> SafetensorsFile::Get(const std::string& name, at::ScalarType dtype,
                                                at::IntArrayRef shape) const {
  const auto found = tensors_.find(name);
  if (const auto unusable = unusable_.find(name); unusable != unusable_.end())
    return absl::InvalidArgumentError(
        absl::StrCat(name_, ": tensor \"", name, "\" is ", unusable->second, "; expected ", Describe(dtype, shape)));
  if (found == tensors_.end())
    return absl::NotFoundError(
        absl::StrCat(name_, ": tensor \"", name, "\" is missing, expected ", Describe(dtype, shape)));
  const at::Tensor& tensor = found->second;
  if (tensor.scalar_type() != dtype || tensor.sizes() != shape)
    return absl::InvalidArgumentError(absl::StrCat(name_, ": tensor \"", name, "\" is ",
                                                   Describe(tensor.scalar_type(), tensor.sizes()), ", expected ",
                                                   Describe(dtype, shape)));
  return tensor;
}

int64_t TensorForm::bytes() const {
  return c10::multiply_integers(shape) * static_cast<int64_t>(c10::elementSize(dtype));
}

namespace {

// What stands before the data, and the order in which the data come.
struct WrittenHeader {
  std::string bytes;  // length and text
  std::vector<std::string> order;
};

absl::StatusOr<WrittenHeader> MakeHeader(const std::map<std::string, TensorForm>& forms,
                                         const std::map<std::string, std::string>& metadata) {
  // Widest elements first, then by name, so that every tensor is aligned for its type.
  WrittenHeader written;
  for (const auto& [name, form] : forms) written.order.push_back(name);
  const auto width = [&](const std::string& name) { return c10::elementSize(forms.at(name).dtype); };
  std::stable_sort(written.order.begin(), written.order.end(),
                   [&](const std::string& a, const std::string& b) { return width(a) > width(b); });
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};
  for (const auto& [key, value] : metadata) header["__metadata__"][key] = value;
  int64_t end = 0;
  for (const std::string& name : written.order) {
    if (name == "__metadata__") return absl::InvalidArgumentError("a tensor cannot have the name __metadata__");
    const TensorForm& form = forms.at(name);
    FLOWAWR_ASSIGN_OR_RETURN(const absl::string_view dtype, NameOf(form.dtype));
    const int64_t begin = end;
    end += form.bytes();
    header[name] = {{"dtype", std::string(dtype)}, {"shape", form.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("a name or metadata is not UTF-8: ", error.what()));
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  written.bytes.resize(8);
  absl::little_endian::Store64(written.bytes.data(), text.size());
  written.bytes += text;
  return written;
}

absl::string_view BytesOf(const at::Tensor& contiguous) {
  return {static_cast<const char*>(contiguous.const_data_ptr()), contiguous.nbytes()};
}

}  // namespace

absl::StatusOr<std::string> SerializeSafetensors(const std::map<std::string, at::Tensor>& tensors,
                                                 const std::map<std::string, std::string>& metadata) {
  std::map<std::string, TensorForm> forms;
  int64_t size = 0;
  for (const auto& [name, tensor] : tensors) {
    forms[name] = {tensor.scalar_type(), tensor.sizes().vec()};
    size += forms[name].bytes();
  }
  FLOWAWR_ASSIGN_OR_RETURN(const WrittenHeader header, MakeHeader(forms, metadata));
  std::string bytes;
  bytes.reserve(header.bytes.size() + size);
  bytes += header.bytes;
  for (const std::string& name : header.order) {
    const at::Tensor values = MovedTo(tensors.at(name).detach(), at::kCPU).contiguous();
    absl::StrAppend(&bytes, BytesOf(values));
  }
  return bytes;
}

absl::Status StreamSafetensors(const std::string& path, const std::map<std::string, TensorForm>& forms,
                               absl::FunctionRef<absl::StatusOr<at::Tensor>(const std::string& name)> make,
                               const std::map<std::string, std::string>& metadata) {
  FLOWAWR_ASSIGN_OR_RETURN(const WrittenHeader header, MakeHeader(forms, metadata));
  FLOWAWR_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  FLOWAWR_RETURN_IF_ERROR(file.Append(header.bytes));
  for (const std::string& name : header.order) {
    FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor tensor, make(name));
    const TensorForm& form = forms.at(name);
    if (tensor.scalar_type() != form.dtype || tensor.sizes() != form.shape)
      return absl::InternalError(absl::StrCat(path, ": tensor \"", name, "\" is not what was announced"));
    FLOWAWR_RETURN_IF_ERROR(file.Append(BytesOf(MovedTo(tensor.detach(), at::kCPU).contiguous())));
  }
  return file.Commit();
}

absl::Status WriteSafetensors(const std::string& path, const std::map<std::string, at::Tensor>& tensors,
                              const std::map<std::string, std::string>& metadata) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::string bytes, SerializeSafetensors(tensors, metadata));
  return WriteFileAtomically(path, bytes);
}

}  // namespace flowawr
