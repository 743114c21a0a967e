// That the pretend device catches what it is there to catch.
#include "tests/testing/fake_device/fake_device.h"

#include <ATen/DeviceAccelerator.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <functional>
#include <vector>

#include "common/tensor/devices.h"
#include "tests/testing/fake_device/fake_failure.h"

namespace flowawr {
namespace {

using fake_device::TakeContexts;
using fake_device::TakeCounts;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

const at::Device kFake = fake_device::Device();

at::Tensor Numbers(at::IntArrayRef sizes) { return at::arange(3.0 * sizes[0]).view({sizes[0], 3}).sin(); }

template <typename Call>
std::string ErrorOf(Call call) {
  try {
    call();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "";
}

TEST(FakeDeviceTest, ComputesAsTheHostAndCountsWhatCrossesOver) {
  TakeCounts();
  const at::Tensor a = Numbers({4}), b = Numbers({4}) + 1;
  const at::Tensor sum = a.to(kFake) + b.to(kFake);
  EXPECT_EQ(sum.device(), kFake);
  EXPECT_TRUE(at::equal(sum.to(at::kCPU), a + b));
  const fake_device::Counts counts = TakeCounts();
  EXPECT_EQ(counts.uploads, 2);
  EXPECT_EQ(counts.uploaded_bytes, 2 * 4 * 3 * 4);
  EXPECT_EQ(counts.downloads, 1);
  EXPECT_EQ(counts.downloaded_bytes, 4 * 3 * 4);
  EXPECT_EQ(counts.syncs, 0);
  EXPECT_GE(counts.peak_bytes, 3 * 4 * 3 * 4);
  EXPECT_THAT(counts.operations, ElementsAre(Pair("aten::add.out", 1)));
}

TEST(FakeDeviceTest, ViewsShareTheirMemoryAndAreNoOperations) {
  at::Tensor whole = Numbers({4}).to(kFake);
  TakeCounts();
  at::Tensor rows = whole.narrow(0, 1, 2).t();
  EXPECT_THAT(TakeCounts().operations, testing::IsEmpty());
  rows.zero_();
  EXPECT_EQ(whole.to(at::kCPU).narrow(0, 1, 2).abs().sum().item<double>(), 0);
}

TEST(FakeDeviceTest, ReadingAValueIsASync) {
  const at::Tensor a = Numbers({4}).to(kFake);
  TakeCounts();
  EXPECT_EQ(a.sum().item<float>(), Numbers({4}).sum().item<float>());
  EXPECT_EQ(TakeCounts().syncs, 1);
}

TEST(FakeDeviceTest, GradientsFlow) {
  const at::Tensor x = Numbers({4}), w = Numbers({2});
  const auto gradient = [&](at::Device device) {
    const at::Tensor leaf = w.to(device).requires_grad_();
    return torch::autograd::grad({at::gelu(at::linear(x.to(device), leaf)).square().sum()}, {leaf})[0].to(at::kCPU);
  };
  EXPECT_LT((gradient(kFake) - gradient(at::kCPU)).abs().max().item<double>(), 1e-6);
}

TEST(FakeDeviceTest, TheSecondDeviceKeepsToItself) {
  const at::Device second = fake_device::Device(1);
  const at::Tensor x = Numbers({4}).to(second).requires_grad_();
  EXPECT_EQ(at::arange(3, x.options()).device(), second);
  EXPECT_EQ(at::zeros({}, x.options()).device(), second);
  EXPECT_EQ(at::full({1}, 2, x.options()).device(), second);
  EXPECT_EQ(at::empty({2, 4, 3, 3}, x.options(), at::MemoryFormat::ChannelsLast).device(), second);
  EXPECT_EQ(at::layer_norm(x, {3}).device(), second);
  EXPECT_EQ(at::softmax(at::silu(x), 1).device(), second);
  EXPECT_EQ(x.abs().flatten().device(), second) << "its result is made empty and grows";
  const at::Tensor attended = at::scaled_dot_product_attention(x.view({1, 1, 4, 3}), x.view({1, 1, 4, 3}), x.view({1, 1, 4, 3}));
  EXPECT_EQ(attended.device(), second);
  EXPECT_EQ(torch::autograd::grad({attended.square().sum()}, {x})[0].device(), second);
}

TEST(FakeDeviceTest, RefusesOperandsOfTwoPlaces) {
  const at::Tensor here = Numbers({4}), there = here.to(kFake), elsewhere = here.to(fake_device::Device(1));
  EXPECT_THAT(ErrorOf([&] { return there + here; }), HasSubstr("fake:0 and cpu")) << "by LibTorch itself";
  EXPECT_THAT(ErrorOf([&] { return at::cat({there, here}); }), HasSubstr("fake:0 and cpu"));
  EXPECT_THAT(ErrorOf([&] { return at::cat({there, elsewhere}); }), HasSubstr("fake:0 and fake:1"));
  EXPECT_EQ(ErrorOf([&] { return there + at::scalar_tensor(2); }), "");
}

TEST(FakeDeviceDeathTest, ItsMemoryIsNotTheHosts) {
  const at::Tensor there = Numbers({4}).to(kFake);
  const auto read = [&] { return static_cast<const volatile float*>(there.const_data_ptr())[0]; };
  EXPECT_EXIT(read(), testing::KilledBySignal(SIGSEGV), "");
}

TEST(FakeDeviceTest, IsTheMachinesAccelerator) {
  EXPECT_EQ(at::accelerator::getAccelerator(), at::kPrivateUse1);
  EXPECT_EQ(at::accelerator::deviceCount(), 2);
  c10::impl::VirtualGuardImpl guard(at::kPrivateUse1);
  const c10::Stream stream = guard.getNewStream(kFake);
  const c10::StreamGuard on(stream);
  EXPECT_EQ(at::accelerator::getCurrentStream(0), stream);
  c10::Event event(at::kPrivateUse1);
  event.record(stream);
  EXPECT_TRUE(event.query());
}

TEST(FakeDeviceTest, TellsWhereContextsAreMade) {
  const at::Device second = fake_device::Device(1);
  const c10::Stream stream = c10::impl::VirtualGuardImpl(at::kPrivateUse1).getNewStream(second);
  TakeContexts();
  const at::Tensor there = Numbers({4}).to(second);
  {
    const c10::StreamGuard on(stream);
    there + 1;
    stream.synchronize();
  }
  EXPECT_THAT(TakeContexts(), ElementsAre(1));
  c10::Event event(at::kPrivateUse1);
  event.record(stream);
  EXPECT_THAT(TakeContexts(), ElementsAre(0, 1)) << "of a thread whose device is the first";
}

TEST(FakeDeviceDeathTest, OneThatFailedAnswersNothing) {
  const at::Tensor there = Numbers({4}).to(kFake);
  const at::TensorOptions options = at::TensorOptions(at::kFloat).pinned_memory(true);
  at::Tensor pinned = at::empty({4, 3}, options), unused = at::empty({4, 3}, options);
  pinned.copy_(there, /*non_blocking=*/true);
  const fake_device::Failure failure;
  for (const auto& ask : std::vector<std::function<void()>>{
           [&] { there + 1; }, [&] { there.to(at::kCPU); }, [&] { there[0][0].item(); },
           [&] { c10::impl::VirtualGuardImpl(at::kPrivateUse1).getStream(kFake).synchronize(); }})
    EXPECT_THROW(ask(), c10::AcceleratorError);
  unused.reset();
  EXPECT_DEATH(pinned.reset(), "an illegal memory access");
}

// ---- streams

class FakeStreamsTest : public testing::Test {
 protected:
  c10::Stream NewStream() { return c10::impl::VirtualGuardImpl(at::kPrivateUse1).getNewStream(kFake); }
  // Made on a_, which nobody has waited for.
  at::Tensor MadeOnA() {
    const c10::StreamGuard on(a_);
    return Numbers({4}).to(kFake) + 1;
  }

  const c10::Stream a_ = NewStream(), b_ = NewStream();
};

TEST_F(FakeStreamsTest, RefusesWhatAnotherStreamMayNotHaveMadeYet) {
  const at::Tensor made = MadeOnA();
  const c10::StreamGuard on(b_);
  EXPECT_THAT(ErrorOf([&] { return made + 1; }), HasSubstr("uses memory that stream"));
  EXPECT_THAT(ErrorOf([&] { return made.to(at::kCPU); }), HasSubstr("uses memory that stream"));
}

TEST_F(FakeStreamsTest, AnEventOrders) {
  const at::Tensor made = MadeOnA();
  c10::Event event(at::kPrivateUse1);
  event.record(a_);
  event.block(b_);
  const c10::StreamGuard on(b_);
  EXPECT_TRUE(at::equal((made + 1).to(at::kCPU), Numbers({4}) + 2));
}

TEST_F(FakeStreamsTest, SoDoesAWaitOfTheHost) {
  const at::Tensor made = MadeOnA();
  a_.synchronize();
  const c10::StreamGuard on(b_);
  EXPECT_EQ(ErrorOf([&] { return made + 1; }), "");
  b_.synchronize();
}

TEST_F(FakeStreamsTest, RefusesToWriteWhatAnotherStreamMayStillRead) {
  at::Tensor shared = Numbers({4}).to(kFake);
  at::Tensor sum;
  {
    const c10::StreamGuard on(a_);
    sum = shared + 1;
  }
  const c10::StreamGuard on(b_);
  EXPECT_THAT(ErrorOf([&] { return shared.zero_(); }), HasSubstr("reads"));
  a_.synchronize();
  EXPECT_EQ(ErrorOf([&] { return shared.zero_(); }), "");
  b_.synchronize();
}

TEST_F(FakeStreamsTest, MovesPinnedMemoryNoSoonerThanARealDeviceMight) {
  const at::TensorOptions pinned = at::TensorOptions(at::kFloat).pinned_memory(true);
  const at::Tensor made = MadeOnA(), down = at::zeros({4, 3}, pinned), up = at::ones({4, 3}, pinned);
  const c10::StreamGuard on(a_);
  down.copy_(made, /*non_blocking=*/true);
  EXPECT_EQ(down.abs().sum().item<double>(), 0) << "nobody has waited";
  const at::Tensor there = at::empty({4, 3}, made.options());
  there.copy_(up, /*non_blocking=*/true);
  up.fill_(7);  // too soon
  a_.synchronize();
  EXPECT_TRUE(at::equal(down, Numbers({4}) + 1));
  EXPECT_EQ(there.to(at::kCPU).sum().item<double>(), 7 * 12);
}

TEST_F(FakeStreamsTest, DiesWhenMemoryIsFreedUnderAnotherStream) {
  at::Tensor made = MadeOnA();
  a_.synchronize();
  const auto use_on_b = [&] {
    const c10::StreamGuard on(b_);
    return made + 1;
  };
  EXPECT_DEATH((use_on_b(), made.reset()), "freed while another stream may still be using it");
  use_on_b();
  b_.synchronize();
  made.reset();
}

// ---- common/tensor/devices.h on a machine with two accelerators

TEST(DevicesTest, FindsWhatIsThereByItsName) {
  EXPECT_THAT(Accelerators(), ElementsAre(kFake, fake_device::Device(1)));
  EXPECT_EQ(FindDevice("auto").value(), kFake);
  EXPECT_EQ(FindDevice("fake").value(), kFake);
  EXPECT_EQ(FindDevice("fake:1").value(), fake_device::Device(1));
  EXPECT_EQ(FindDevice("cpu").value(), at::Device(at::kCPU));
  EXPECT_EQ(NameOf(fake_device::Device(1)), "fake:1");
  EXPECT_EQ(NameOf(at::Device(at::kCPU)), "cpu");
}

TEST(DevicesTest, AutoIsEveryAcceleratorInAList) {
  EXPECT_THAT(FindDevices({"auto"}).value(), ElementsAre(kFake, fake_device::Device(1)));
  EXPECT_THAT(FindDevices({"cpu", "fake:1"}).value(), ElementsAre(at::Device(at::kCPU), fake_device::Device(1)));
}

TEST(DevicesTest, SaysWhatThereIsInsteadOfWhatIsNot) {
  EXPECT_THAT(FindDevice("fake:7").status().message(),
              testing::AllOf(HasSubstr("fake:7: no such device"), HasSubstr("cpu, fake:0, fake:1")));
  EXPECT_THAT(FindDevice("cpuu").status().message(), HasSubstr("did you mean \"cpu\"?"));
  for (const char* name : {"gpu", "GPU:0", "CUDA"})
    EXPECT_THAT(FindDevice(name).status().message(), HasSubstr("did you mean \"cuda\"?")) << name;
  EXPECT_THAT(FindDevice("cuda").status().message(), HasSubstr("scripts/setup --cuda"));
  EXPECT_THAT(FindDevice("cuda:3").status().message(), HasSubstr("sees no CUDA device"));
  EXPECT_TRUE(absl::IsInvalidArgument(FindDevices({"cpu", "gpu"}).status()));
}

}  // namespace
}  // namespace flowawr
