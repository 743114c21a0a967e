#include "common/tensor/safetensors.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <torch/types.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/base/internal/endian.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/tensor/safetensors_header.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// A file with this header text and `data_bytes` zeros.
std::string File(absl::string_view header, size_t data_bytes) {
  std::string bytes(8, '\0');
  absl::little_endian::Store64(bytes.data(), header.size());
  return absl::StrCat(bytes, header, std::string(data_bytes, '\0'));
}

struct BadFile {
  const char* name;
  std::string bytes;
  const char* message;  // a part of the error
};

std::string WithLength(uint64_t length) {
  std::string bytes(8, '\0');
  absl::little_endian::Store64(bytes.data(), length);
  return bytes + "{}";
}

const BadFile kBadFiles[] = {
    {"Empty", "", "too few"},
    {"ShorterThanTheLength", "1234567", "too few"},
    {"HeaderBeyondTheEnd", WithLength(3), "cut short"},
    {"HeaderLengthThatWraps", WithLength(UINT64_MAX - 6), "at most 100000000"},
    {"HeaderTooLong", WithLength(100'000'001), "at most 100000000"},
    {"EmptyHeader", WithLength(0), "does not begin with '{'"},
    {"ByteOrderMark", File("\xEF\xBB\xBF{}", 0), "does not begin with '{'"},
    {"NotAnObject", File("[]", 0), "does not begin with '{'"},
    {"NotJson", File("{x}", 0), "not JSON"},
    {"TextAfterTheObject", File("{} {}", 0), "not JSON"},
    {"NulAfterTheObject", File(absl::string_view("{}\0garbage", 10), 0), "NUL"},
    {"NotUtf8", File("{\"\xff\":1}", 0), "not JSON"},
    {"DuplicateTensor",
     File(
         R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
         1),
     "twice"},
    {"DuplicateField", File(R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1), "twice"},
    {"DuplicateMetadata", File(R"({"__metadata__":{"k":"1","k":"2"}})", 0), "twice"},
    {"MetadataNotText", File(R"({"__metadata__":{"k":1}})", 0), "\"k\" is not a string"},
    {"MetadataNotObject", File(R"({"__metadata__":[]})", 0), "__metadata__ is not an object"},
    {"DeepNesting", File(absl::StrCat(R"({"a":)", std::string(127, '['), std::string(127, ']'), "}"), 0),
     "nested deeper"},
    {"EntryNotObject", File(R"({"a":1})", 0), "\"a\" must have the fields"},
    {"FieldMissing", File(R"({"a":{"dtype":"U8","shape":[1]}})", 1), "\"a\" must have the fields"},
    {"UnknownDtype", File(R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4), "unknown dtype \"F31\""},
    {"DtypeNotText", File(R"({"a":{"dtype":1,"shape":[1],"data_offsets":[0,4]}})", 4), "dtype that is not a string"},
    {"NegativeSize", File(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1), "whole number"},
    {"FractionalSize", File(R"({"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})", 1), "whole number"},
    {"SizeAbove64Bits", File(R"({"a":{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,1]}})", 1),
     "whole number"},
    {"NegativeOffset", File(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}})", 1), "data_offsets"},
    {"ThreeOffsets", File(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}})", 1), "data_offsets"},
    {"OffsetsBackwards", File(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1), "takes 1 bytes"},
    {"ProductWrapsToZero", File(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0),
     "overflows"},
    {"ProductWithDtypeWraps", File(R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0),
     "overflows"},
    {"HalfAByte", File(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", 2), "no whole number of bytes"},
    {"SizeTooSmallForShape", File(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4), "takes 8 bytes"},
    {"Overlap",
     File(
         R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
         3),
     "overlaps"},
    {"SameBytesTwice",
     File(
         R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
         2),
     "overlaps"},
    {"HoleAtTheStart", File(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2), "hole"},
    {"HoleInside",
     File(
         R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
         3),
     "hole"},
    {"Truncated", File(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 3), "cut short"},
    {"TrailingBytes", File(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 5),
     "take 4 bytes of data but the file has 5"},
    {"NoTensorsButData", File("{}", 1), "take 0 bytes"},
};

class BadSafetensorsTest : public testing::TestWithParam<BadFile> {};

TEST_P(BadSafetensorsTest, IsRefusedWithAReason) {
  const absl::Status status = SafetensorsFile::Parse(GetParam().bytes, "x.safetensors").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr(GetParam().message));
  EXPECT_THAT(status.message(), HasSubstr("x.safetensors"));
}

INSTANTIATE_TEST_SUITE_P(All, BadSafetensorsTest, testing::ValuesIn(kBadFiles),
                         [](const auto& info) { return info.param.name; });

std::map<std::string, at::Tensor> SomeTensors() {
  at::manual_seed(3);
  return {{"float", at::randn({3, 5})},
          {"b.float64", at::randn({2}, at::kDouble)},
          {"half", at::randn({7}).to(at::kHalf)},
          {"bfloat", at::randn({2, 2}).to(at::kBFloat16)},
          {"scalar", at::tensor(2.5f).reshape({})},
          {"empty", at::empty({0, 4})},
          {"bool", at::arange(3) != 1},
          {"long", at::arange(-2, 3)},
          {"transposed \"\u00e9\"", at::randn({4, 3}).t()}};
}

void ExpectSame(const std::map<std::string, at::Tensor>& actual, const std::map<std::string, at::Tensor>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(actual.contains(name)) << name;
    EXPECT_EQ(actual.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(actual.at(name), tensor)) << name;
  }
}

TEST(SafetensorsTest, RoundTripsEveryTypeAndShape) {
  const TempFolder folder;
  const auto tensors = SomeTensors();
  ASSERT_TRUE(WriteSafetensors(folder / "x.safetensors", tensors, {{"key", "va\"lue"}}).ok());
  const auto mapped = SafetensorsFile::Open(folder / "x.safetensors");
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  ExpectSame(mapped->tensors(), tensors);
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"key", "va\"lue"}};
  EXPECT_EQ(mapped->metadata(), metadata);
  const auto parsed = SafetensorsFile::Parse(*ReadFile(folder / "x.safetensors"), "x");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ExpectSame(parsed->tensors(), tensors);
}

TEST(SafetensorsTest, WritesTheSameBytesForTheSameTensors) {
  const std::string bytes = *SerializeSafetensors(SomeTensors(), {{"b", "1"}, {"a", "2"}});
  EXPECT_EQ(bytes, *SerializeSafetensors(SomeTensors(), {{"a", "2"}, {"b", "1"}}));
  EXPECT_EQ((8 + absl::little_endian::Load64(bytes.data())) % 8, 0);
}

TEST(SafetensorsTest, RefusesEveryTruncationAndExtension) {
  const std::string bytes = *SerializeSafetensors(SomeTensors());
  for (size_t size = 0; size < bytes.size(); ++size)
    ASSERT_FALSE(SafetensorsFile::Parse(bytes.substr(0, size), "x").ok()) << size;
  EXPECT_FALSE(SafetensorsFile::Parse(bytes + '\0', "x").ok());
}

TEST(SafetensorsTest, KeepsTheMappingAliveForItsTensorsAndTheFileUntouched) {
  const TempFolder folder;
  const std::string path = folder / "x.safetensors";
  ASSERT_TRUE(WriteSafetensors(path, {{"a", at::ones({1000})}}).ok());
  at::Tensor tensor = SafetensorsFile::Open(path)->tensors().at("a");
  std::filesystem::remove(path);
  tensor.add_(1);  // the mapping is private
  EXPECT_EQ(tensor.sum().item<float>(), 2000);
}

TEST(SafetensorsTest, OpensAFileThatIsLargerThanTheMemory) {
  const TempFolder folder;
  constexpr uint64_t kSize = uint64_t{1} << 40;
  const std::string path = folder.Write(
      "m.safetensors",
      File(absl::StrCat(R"({"a":{"dtype":"U8","shape":[)", kSize, R"(],"data_offsets":[0,)", kSize, "]}}"), 0));
  std::filesystem::resize_file(path, std::filesystem::file_size(path) + kSize);  // sparse
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->tensors().at("a")[-1].item<int>(), 0);
}

TEST(SafetensorsTest, DoesNotWaitForTheWriterOfAFifo) {
  const TempFolder folder;
  ASSERT_EQ(mkfifo((folder / "m.safetensors").c_str(), 0600), 0);
  EXPECT_THAT(SafetensorsFile::Open(folder / "m.safetensors").status().message(), HasSubstr("not a regular file"));
}

TEST(SafetensorsTest, ReadsDataThatIsNotAligned) {
  const std::string header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  ASSERT_NE((8 + header.size()) % 4, 0) << "the case must be an unaligned one";
  std::string bytes = File(header, 8);
  absl::little_endian::Store32(&bytes[bytes.size() - 4], 0x3f800000);
  const auto file = SafetensorsFile::Parse(bytes, "x");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(at::equal(file->tensors().at("a"), at::tensor({0.0f, 1.0f})));
}

TEST(SafetensorsTest, NeverMakesATensorOfABoolThatIsNeitherTrueNorFalse) {
  std::string bytes = File(R"({"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}})", 1);
  bytes.back() = 2;
  const auto file = SafetensorsFile::Parse(bytes, "x");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->tensors().empty());
  EXPECT_THAT(file->unusable().at("a"), HasSubstr("BOOL [1] with a byte other than 0 and 1"));
}

// Made by the published library's own writer or, where it writes no such file, byte by byte; the verdict is that of its
// reader.
TEST(SafetensorsTest, OpensWhatThePublishedLibraryOpensAndRefusesWhatItRefuses) {
  const TempFolder folder;
  ASSERT_TRUE(RunPython("tests/common/tensor/safetensors_verdicts.py", {folder.path()}));
  const nlohmann::json verdicts = nlohmann::json::parse(*ReadFile(folder / "verdicts.json"));
  ASSERT_GT(verdicts.size(), 1500);
  int opened = 0, unusable = 0;
  for (const auto& [name, verdict] : verdicts.items()) {
    const auto file = SafetensorsFile::Open(folder / name);
    ASSERT_EQ(file.ok(), verdict["opens"].get<bool>()) << name << ": " << verdict << " " << file.status();
    if (!file.ok()) {
      EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << name;
      continue;
    }
    ++opened;
    EXPECT_EQ(nlohmann::json(file->metadata()), verdict["metadata"]) << name;
    ASSERT_EQ(file->tensors().size() + file->unusable().size(), verdict["shapes"].size()) << name;
    for (const auto& [key, tensor] : file->tensors())
      EXPECT_EQ(nlohmann::json(tensor.sizes().vec()), verdict["shapes"].at(key)) << name << " " << key;
    if (!verdict.contains("values")) continue;
    for (const auto& [key, values] : verdict["values"].items()) {
      ASSERT_TRUE(file->tensors().contains(key)) << name << " " << key;
      const at::Tensor& tensor = file->tensors().at(key);
      const at::Tensor wide = (tensor.is_complex() ? at::view_as_real(tensor) : tensor).to(at::kDouble).flatten();
      EXPECT_EQ(std::vector<double>(wide.data_ptr<double>(), wide.data_ptr<double>() + wide.numel()),
                values.get<std::vector<double>>())
          << name << " " << key;
    }
    for (const auto& [key, what] : file->unusable()) {
      ++unusable;
      EXPECT_THAT(what, testing::StartsWith(verdict["dtypes"].at(key).get<std::string>())) << name << " " << key;
      EXPECT_THAT(file->Get(key, at::kFloat, {1}).status().message(),
                  AllOf(HasSubstr(name), HasSubstr(what), HasSubstr(absl::StrCat("\"", key, "\""))))
          << name;
    }
  }
  EXPECT_GT(opened, 100);
  EXPECT_LT(opened, static_cast<int>(verdicts.size()) - 500);
  EXPECT_GT(unusable, 5);
}

TEST(SafetensorsTest, GetSaysWhatIsThereAndWhatWasExpected) {
  const auto file = SafetensorsFile::Parse(*SerializeSafetensors({{"a", at::ones({16, 64})}}), "adapter.safetensors");
  EXPECT_TRUE(file->Get("a", at::kFloat, {16, 64}).ok());
  EXPECT_EQ(file->Get("b", at::kFloat, {1}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(file->Get("a", at::kFloat, {32, 64}).status().message(),
            "adapter.safetensors: tensor \"a\" is Float [16,64], expected Float [32,64]");
  EXPECT_FALSE(file->Get("a", at::kHalf, {16, 64}).ok());
}

TEST(SafetensorsTest, NamesAFileThatIsNotThere) {
  EXPECT_EQ(SafetensorsFile::Open("no/such.safetensors").status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(SafetensorsFile::Open("common").ok());
}

TEST(SafetensorsTest, IsReadByThePublishedLibraryAndReadsIt) {
  const TempFolder folder;
  ASSERT_TRUE(WriteSafetensors(folder / "ours.safetensors", SomeTensors(), {{"key", "value"}}).ok());
  ASSERT_TRUE(RunPython("tests/common/tensor/rewrite_safetensors.py",
                        {folder / "ours.safetensors", folder / "theirs.safetensors"}));
  const auto file = SafetensorsFile::Open(folder / "theirs.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  auto expected = SomeTensors();
  expected["added"] = at::arange(6, at::kFloat).reshape({2, 3});
  ExpectSame(file->tensors(), expected);
  EXPECT_EQ(file->metadata().at("key"), "value");
}

}  // namespace
}  // namespace flowawr
