// libflowawr_graphs.so: CUDA graphs for LibTorch's registry of graphs, in which its CUDA build has none. Its own class for
// them, at::cuda::CUDAGraph, does the work: the allocator's pool for a graph's memory is its affair.
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/core/GraphImplInterface.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include <exception>
#include <memory>
#include <string>

namespace flowawr {
namespace {

cudaStreamCaptureMode ModeOf(at::GraphCaptureMode mode) {
  switch (mode) {
    case at::GraphCaptureMode::ThreadLocal:
      return cudaStreamCaptureModeThreadLocal;
    case at::GraphCaptureMode::Relaxed:
      return cudaStreamCaptureModeRelaxed;
    default:
      return cudaStreamCaptureModeGlobal;
  }
}

struct Graph : at::cuda::CUDAGraph {
  using CUDAGraph::CUDAGraph;
  ~Graph() { KeepWorkspaces(); }

  bool has_ended() const { return capture_ended_; }

  // With a graph LibTorch 2.13 frees cuBLAS's workspaces of the stream that it was recorded on, which all other graphs of the
  // stream write to (its issue 193402). They were there before anything was recorded (device_graph.h), and stay: it is told
  // of a stream that has none.
  void KeepWorkspaces() {
    if (capture_ended_) capture_stream_ = c10::cuda::getStreamFromExternal(cudaStreamPerThread, capture_dev_);
  }
};

class CudaGraph final : public at::GraphImplInterface {
 public:
  explicit CudaGraph(const at::GraphImplArgs& args) : graph_(std::make_unique<Graph>(args.keep_graph)) {}

  void capture_begin(at::MempoolId_t pool, at::GraphCaptureMode mode) override {
    // Before the pool is counted as used; what fails afterwards, fails with it used.
    TORCH_CHECK(c10::cuda::getCurrentCUDAStream() != c10::cuda::getDefaultCUDAStream(),
                "the default stream cannot be recorded");
    pool_ = pool == at::MempoolId_t{0, 0} ? at::cuda::graph_pool_handle() : pool;
    device_ = c10::cuda::current_device();
    OrAbandon([&] { graph_->capture_begin(pool_, ModeOf(mode)); });
  }

  void capture_end() override {
    OrAbandon([&] { graph_->capture_end(); });
  }

  void instantiate() override { graph_->instantiate(); }
  void replay() override { graph_->replay(); }
  void reset() override {
    graph_->KeepWorkspaces();
    graph_->reset();
  }
  at::MempoolId_t pool() const override { return pool_; }
  void enable_debug_mode() override { graph_->enable_debug_mode(); }
  void debug_dump(const std::string& path) override { graph_->debug_dump(path); }

 private:
  // A capture that CUDA refuses or declares invalid leaves LibTorch's allocators, of the device's memory and of pinned
  // memory, asking this graph of every allocation whether it is the graph's, for ever, and the pool in use: they are told
  // that it is over, and the graph stays, lest it be asked still.
  template <typename Step>
  void OrAbandon(Step step) {
    try {
      step();
    } catch (...) {
      if (!graph_->has_ended()) Abandon();
      throw;
    }
  }

  void Abandon() {
    graph_.release();  // NOLINT(bugprone-unused-return-value)
    at::HostAllocator* const pinned = at::getHostAllocator(at::kCUDA);
    UnlessKnown([&] { c10::cuda::CUDACachingAllocator::endAllocateToPool(device_, pool_); });
    UnlessKnown([&] { pinned->end_allocate_to_pool(pool_); });
    UnlessKnown([&] { c10::cuda::CUDACachingAllocator::releasePool(device_, pool_); });
    UnlessKnown([&] { pinned->release_pool(pool_); });
  }

  // How far it got says which of them know it already, and throw.
  template <typename Step>
  static void UnlessKnown(Step step) {
    try {
      step();
    } catch (const std::exception&) {
    }
  }

  std::unique_ptr<Graph> graph_;
  at::MempoolId_t pool_ = {0, 0};
  c10::DeviceIndex device_ = 0;
};

}  // namespace
}  // namespace flowawr

namespace at {
REGISTER_GRAPH_IMPL(CUDA, flowawr::CudaGraph)
}
