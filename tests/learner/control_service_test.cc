// The Control service over real gRPC, with a run loop that is not running.
#include "learner/control_service.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "common/base/file.h"
#include "common/config/prompts.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "common/scoring/expected_spec.h"
#include "tests/learner/small_run.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

class ControlServiceTest : public testing::Test {
 protected:
  ControlServiceTest()
      : directory_(RunDirectory::Open(folder_ / "run").value()),
        loop_(Parts()),
        service_(&desk_.board, &loop_, &idle_, [this] { ++shutdowns_; }) {
    auto server = RpcServer::Start({.listen = "127.0.0.1:0"}, {&service_});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = std::move(server).value();
    stub_ = v1::Control::NewStub(MakeChannel(server_->endpoint(), v1::NetworkConfig()).value());
  }
  ~ControlServiceTest() override {
    desk_.Stop();
    server_->Shutdown(absl::ZeroDuration());
  }

  RunLoop::Parts Parts() {
    v1::RunConfig config;
    config.set_name("small");
    config.set_run_dir(folder_ / "run");
    config.mutable_model()->set_path("models/tiny-sd3");
    config.mutable_checkpoint()->set_keep(2);
    v1::CheckpointManifest manifest;
    manifest.set_update(3);
    manifest.mutable_reward_spec()->set_version(1);
    v1::RewardSpecTerm& term = *manifest.mutable_reward_spec()->add_terms();
    term.set_scorer("ocr");
    term.set_weight(1);
    PolicyRoles roles = PolicyRoles::Initialise(SmallLayout(), /*seed=*/1);
    roles.average = SmallAdapter(2);
    PromptSet prompts = PromptSet::Load(folder_.Write("prompts.txt", "a sign\n")).value();
    return {.config = std::move(config),
            .train_prompts = std::move(prompts),
            .roles = std::move(roles),
            .manifest = std::move(manifest),
            .directory = directory_.get(),
            .leases = &desk_.leases,
            .policies = &desk_.policies,
            .board = &desk_.board};
  }

  template <typename Method, typename Request, typename Response>
  absl::Status Call(Method method, const Request& request, Response* response) {
    const auto context = MakeContext(absl::Minutes(1), v1::NetworkConfig());
    return FromGrpc((stub_.get()->*method)(context.get(), request, response));
  }

  TempFolder folder_;
  std::unique_ptr<RunDirectory> directory_;
  SmallDesk desk_;
  RunLoop loop_;
  std::atomic<int> shutdowns_ = 0;
  IdleWatch idle_{absl::Milliseconds(500)};
  ControlService service_;
  std::unique_ptr<RpcServer> server_;
  std::unique_ptr<v1::Control::Stub> stub_;
};

TEST_F(ControlServiceTest, TellsTheStatus) {
  v1::Status status;
  ASSERT_TRUE(Call(&v1::Control::Stub::GetStatus, v1::GetStatusRequest(), &status).ok());
  EXPECT_EQ(status.name(), "small");
  EXPECT_EQ(status.update(), 3u);
}

TEST_F(ControlServiceTest, AWatchTellsTheStatusAtOnceAndItsChangesAndEndsWithTheLastWhenTheDeskStops) {
  const auto context = MakeContext(absl::Minutes(1), v1::NetworkConfig());
  v1::WatchStatusRequest request;
  request.set_max_hz(20);
  const auto stream = stub_->WatchStatus(context.get(), request);
  v1::Status status;
  ASSERT_TRUE(stream->Read(&status));
  EXPECT_EQ(status.update(), 3u);
  desk_.board.Update([](v1::Status& changed) { changed.set_update(4); });
  while (stream->Read(&status) && status.update() < 4) {
  }
  EXPECT_EQ(status.update(), 4u);

  desk_.board.Update([](v1::Status& changed) { changed.set_phase(v1::FINISHED); });
  desk_.Stop(/*is_run_finished=*/true);
  while (stream->Read(&status)) {
  }
  EXPECT_EQ(status.phase(), v1::FINISHED);
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(ControlServiceTest, EndsAWatchThatIsNotRead) {
  desk_.board.Update([](v1::Status& changed) { changed.set_message(std::string(1 << 18, 'x')); });
  const auto context = MakeContext(absl::Minutes(1), v1::NetworkConfig());
  v1::WatchStatusRequest request;
  request.set_max_hz(20);
  const auto stream = stub_->WatchStatus(context.get(), request);
  v1::Status status;
  ASSERT_TRUE(stream->Read(&status));
  while (idle_.cancelled() == 0) Call(&v1::Control::Stub::GetStatus, v1::GetStatusRequest(), &status).IgnoreError();
  while (stream->Read(&status)) {
  }
  EXPECT_EQ(FromGrpc(stream->Finish()).code(), absl::StatusCode::kCancelled);
}

TEST_F(ControlServiceTest, PausesAndGoesOnWhereItWas) {
  desk_.board.Update([](v1::Status& before) { before.set_phase(v1::EVALUATING_BASE); });
  v1::Status status;
  ASSERT_TRUE(Call(&v1::Control::Stub::Pause, v1::PauseRequest(), &status).ok());
  EXPECT_EQ(status.phase(), v1::PAUSED);
  EXPECT_TRUE(desk_.leases.is_paused());
  ASSERT_TRUE(Call(&v1::Control::Stub::Resume, v1::ResumeRequest(), &status).ok());
  EXPECT_EQ(status.phase(), v1::EVALUATING_BASE);
  EXPECT_FALSE(desk_.leases.is_paused());
}

TEST_F(ControlServiceTest, WritesACheckpointAndTellsWhere) {
  v1::CheckpointResponse response;
  const absl::Status status = Call(&v1::Control::Stub::Checkpoint, v1::CheckpointRequest(), &response);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(std::filesystem::exists(response.path() + "/checkpoint.json")) << response.path();
  EXPECT_EQ(desk_.board.status().last_checkpoint(), response.path());
}

TEST_F(ControlServiceTest, ExportsThePolicyThatIsAskedFor) {
  v1::ExportRequest request;
  request.set_path("exported");
  request.set_role(v1::AVERAGE_POLICY);
  v1::ExportResponse response;
  const absl::Status status = Call(&v1::Control::Stub::Export, request, &response);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(std::filesystem::exists(response.diffusers_file()));
  const std::string file = response.peft_folder() + "/adapter_model.safetensors";
  EXPECT_EQ(ReadFile(file).value(), SmallAdapter(2).SerializePeft().value());
  request.set_role(v1::CURRENT_POLICY);
  ASSERT_TRUE(Call(&v1::Control::Stub::Export, request, &response).ok());
  EXPECT_EQ(ReadFile(file).value(), PolicyRoles::Initialise(SmallLayout(), 1).current.SerializePeft().value());

  request.set_role(v1::REFERENCE_POLICY);
  EXPECT_EQ(Call(&v1::Control::Stub::Export, request, &response).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ControlServiceTest, ReplacesTheRewardSpecWholeOrNotAtAll) {
  v1::SetRewardSpecRequest request;
  v1::RewardSpec spec;
  EXPECT_EQ(Call(&v1::Control::Stub::SetRewardSpec, request, &spec).code(), absl::StatusCode::kInvalidArgument);
  v1::RewardSpecTerm& term = *request.add_terms();
  term.set_scorer("ocr");
  term.set_weight(2);
  EXPECT_EQ(Call(&v1::Control::Stub::SetRewardSpec, request, &spec).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(desk_.board.status().reward_spec().version(), 1u);
  term.set_timeout_s(5);
  ASSERT_TRUE(Call(&v1::Control::Stub::SetRewardSpec, request, &spec).ok());
  EXPECT_EQ(spec.version(), 2u);
  EXPECT_EQ(spec.terms(0).weight(), 2);
  EXPECT_EQ(desk_.board.status().reward_spec().SerializeAsString(), spec.SerializeAsString());
}

TEST_F(ControlServiceTest, ReplacesNoOtherRewardSpecThanTheCallerExpects) {
  v1::SetRewardSpecRequest request;
  v1::RewardSpecTerm& term = *request.add_terms();
  term.set_scorer("ocr");
  term.set_weight(2);
  term.set_timeout_s(5);
  const auto set = [&](uint64_t expected) {
    const auto context = MakeContext(absl::Minutes(1), v1::NetworkConfig());
    ExpectRewardSpec(expected, context.get());
    v1::RewardSpec spec;
    return FromGrpc(stub_->SetRewardSpec(context.get(), request, &spec));
  };
  EXPECT_EQ(set(2).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(desk_.board.status().reward_spec().version(), 1u);
  EXPECT_TRUE(set(1).ok());
  EXPECT_EQ(set(1).code(), absl::StatusCode::kAborted) << "they are version 2 by now";
  EXPECT_TRUE(set(2).ok());
}

TEST_F(ControlServiceTest, PassesAShutdownOn) {
  v1::ShutdownResponse response;
  ASSERT_TRUE(Call(&v1::Control::Stub::Shutdown, v1::ShutdownRequest(), &response).ok());
  EXPECT_EQ(shutdowns_, 1);
}

}  // namespace
}  // namespace flowawr
