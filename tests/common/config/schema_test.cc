#include "common/config/schema.h"

#include <functional>
#include <string>
#include <vector>

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
    ++fields;
    EXPECT_FALSE(RuleOf(field).help().empty()) << field.full_name() << " has no help";
    const bool is_number =
        field.cpp_type() == FieldDescriptor::CPPTYPE_INT32 || field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE;
    EXPECT_EQ(is_number, RuleOf(field).has_min() && RuleOf(field).has_max()) << field.full_name();
  });
  EXPECT_GT(fields, 60);
}

}  // namespace
}  // namespace flowawr
