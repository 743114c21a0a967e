#include "learner/live_page.h"

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/tensor/image.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::json;

class LivePageTest : public testing::Test {
 protected:
  LivePageTest()
      : page_(folder_.path(), [this] {
          ++asked_;
          v1::Status status;
          status.set_name("tiny-ocr");
          status.set_update(7);
          status.set_phase(v1::RUNNING);
          return status;
        }) {}

  HttpResponse Get(const std::string& path) { return page_.Answer({.path = path}); }
  Json GetJson(const std::string& path) { return Json::parse(Get(path).body, nullptr, false); }
  void WritePicture(const std::string& set, const std::string& name, const std::string& details) {
    folder_.Write(absl::StrCat("images/", set, "/", name, ".png"),
                  *EncodePng({2, 3, std::string(18, '\x7f')}));
    folder_.Write(absl::StrCat("images/", set, "/", name, ".json"), details);
  }

  const TempFolder folder_;
  int asked_ = 0;
  LivePage page_;
};

TEST_F(LivePageTest, IsOneFileThatMayLoadNothingFromElsewhere) {
  const HttpResponse page = Get("/");
  EXPECT_EQ(page.code, 200);
  EXPECT_LT(page.body.size(), 60'000);
  EXPECT_THAT(page.body, AllOf(HasSubstr("<!DOCTYPE html>"), Not(HasSubstr("https://")), Not(HasSubstr("innerHTML"))));
  std::string policy;
  for (const auto& [name, value] : page.headers)
    if (name == "Content-Security-Policy") policy = value;
  EXPECT_THAT(policy,
              AllOf(HasSubstr("default-src 'none'"), HasSubstr("script-src 'sha256-"), Not(HasSubstr("unsafe-eval"))));
}

TEST_F(LivePageTest, TellsTheStatusAndAsksForItSeldom) {
  for (int i = 0; i < 100; ++i) EXPECT_EQ(GetJson("/api/status.json")["update"], 7);
  EXPECT_EQ(GetJson("/api/status.json")["phase"], "RUNNING");
  EXPECT_LT(asked_, 100);
}

TEST_F(LivePageTest, ReadsTheHistoryAsItGrows) {
  EXPECT_EQ(GetJson("/api/history.json")["updates"], 0) << "nothing is written yet";
  std::string lines = R"({"kind":"update","update":1,"reward_mean":0.5})" "\n";
  folder_.Write("metrics.jsonl", lines + R"({"kind":"update","upd)");
  EXPECT_EQ(GetJson("/api/history.json")["updates"], 1) << "half a line is none yet";
  lines += R"({"kind":"update","update":2,"reward_mean":0.75})" "\n";
  folder_.Write("metrics.jsonl", lines);  // the same file, longer
  EXPECT_EQ(GetJson("/api/history.json")["curves"]["reward_mean"], Json::parse("[[1,0.5],[2,0.75]]"));
  folder_.Write("metrics.jsonl", R"({"kind":"update","update":1,"reward_mean":0.25})" "\n");  // begun anew
  EXPECT_EQ(GetJson("/api/history.json")["curves"]["reward_mean"], Json::parse("[[1,0.25]]"));
}

TEST_F(LivePageTest, ListsAndServesHeldOutPictures) {
  WritePicture("base", "000", R"({"prompt":"a cat","reward":0.5,"update":0,"details":{"text":"CAT","exact":"true"}})");
  WritePicture("update-000010", "000", R"({"prompt":"a cat","reward":null,"update":10,"details":{}})");
  folder_.Write("images/other/000.json", "{}");
  const Json sets = GetJson("/api/pictures.json")["sets"];
  ASSERT_EQ(sets.size(), 2);
  EXPECT_EQ(sets[0]["pictures"][0],
            Json::parse(R"({"name":"000","prompt":"a cat","reward":0.5,"update":0,"text":"CAT","exact":"true"})"));
  EXPECT_EQ(sets[1]["set"], "update-000010");
  EXPECT_FALSE(sets[1]["pictures"][0].contains("reward"));
  const HttpResponse picture = Get("/images/update-000010/000.png");
  EXPECT_EQ(picture.content_type, "image/png");
  EXPECT_TRUE(absl::StartsWith(picture.body, "\x89PNG"));
}

TEST_F(LivePageTest, ServesNothingElseOfTheRun) {
  WritePicture("base", "000", "{}");
  folder_.Write("config.yaml", "secret");
  folder_.Write("images/base/token", "secret");
  for (const char* path : {"/config.yaml", "/images/base/token", "/images/base/000.json", "/images/../config.yaml",
                           "/images/base/../../config.yaml", "/images/base/..%2f..%2fconfig.yaml",
                           "/images//etc/passwd", "/images/base/000.png/", "/images/base/", "/images/update-1x/000.png",
                           "/images/base/000000000.png", "/images/base/001.png", "/api/", "/api/status.json/x", "//"}) {
    const HttpResponse answer = Get(path);
    EXPECT_EQ(answer.code, 404) << path;
    EXPECT_THAT(answer.body, Not(HasSubstr("secret"))) << path;
  }
}

TEST_F(LivePageTest, EscapesTextFromOutsideInItsJson) {
  WritePicture("base", "000", R"({"prompt":"</script><b>\u0000\"","update":0})");
  EXPECT_EQ(GetJson("/api/pictures.json")["sets"][0]["pictures"][0]["prompt"].get<std::string>(),
            std::string("</script><b>\0\"", 14));
}

}  // namespace
}  // namespace flowawr
