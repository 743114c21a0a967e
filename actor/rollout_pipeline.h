// The stages that turn a lease into a delivered group, each a thread of its own, with a bounded queue before it:
//
//   Accept() -> encode -> sample -> decode -> score (several at a time) -> submit
//            text, noise    ODE       VAE       reward servers               learner
//
// So the next group is sampled while the last is decoded, scored and sent, and neither rewards nor the network hold up
// the sampler. A full queue holds up the stage before it, in the end Accept()'s caller. A job whose lease is no longer
// held is put down wherever it is; a job that fails hands its lease back with the cause. Training groups are sampled
// alone, evaluation groups in batches (prefetch.h).
//
// Latents stay on the model's device until they are sent; pictures leave it as bytes. On an accelerator each stage has
// a stream of its own (common/tensor/device_stream.h), which it waits for before it hands a job on.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "actor/actor_metrics.h"
#include "actor/group_job.h"
#include "actor/held_leases.h"
#include "actor/learner_client.h"
#include "actor/policy_buffer.h"
#include "actor/prefetch.h"
#include "actor/prompt_encoder.h"
#include "actor/stage_clock.h"
#include "common/base/bounded_queue.h"
#include "common/base/steady_cond_var.h"
#include "common/scoring/scoring_client.h"
#include "common/sd3/pipeline.h"
#include "common/sd3/step_graphs.h"

namespace flowawr {

class RolloutPipeline {
 public:
  // Whatever these refer to outlives the pipeline.
  struct Parts {
    const Pipeline& model;
    LatentShape shape;
    LearnerClient& learner;
    PolicyBuffer& policies;
    ScoringClient& scorer;
    HeldLeases& leases;
    StageClock& stages;
    ActorMetrics& metrics;
    // From the stages' threads, for each error after which the process must end (IsDeviceError()).
    std::function<void(const absl::Status&)> on_device_error;
    PromptEncoder::Encode encode;  // called by the encode stage alone
  };
  struct Options {
    int threads = 1;  // of LibTorch, in each stage that computes
    int score_workers = 4;
    int graph_batch = 0;  // SamplerConfig's
    PrefetchLimits prefetch;
  };

  // Starts the threads.
  RolloutPipeline(const Parts& parts, const Options& options);
  // Stop().
  ~RolloutPipeline();

  // Takes on a lease that HeldLeases::WaitForRoom() had room for. From one thread.
  void Accept(v1::Lease lease);

  // Begins nothing new, delivers what is scored, hands all other leases back, joins the threads. Harmless if repeated.
  void Stop();

 private:
  using Job = std::unique_ptr<GroupJob>;
  using Batch = std::vector<Job>;

  void Encode();
  void Sample();
  void Decode();
  void Score();
  void Submit();

  void EncodeOne(Job job, PromptEncoder& encoder);
  Batch NextBatch(std::deque<Job>& waiting);
  void SampleBatch(Batch batch, StepGraphs& graphs);
  void DecodeBatch(Batch batch);
  void ScoreOne(Job job);
  void SubmitOne(Job job);

  // OnDevice() of the model's, and tells of an error of it. What `work` asked of the stage's stream is done. It may be done
  // twice (AgainAfterRecording()).
  absl::Status Compute(const std::string& operation, absl::FunctionRef<absl::Status()> work,
                       const std::string& advice = "");
  // False, and the job settled, when the lease was dropped or the actor stops.
  bool IsWanted(const GroupJob& job);
  bool IsStopping() const { return stopping_.HasBeenNotified(); }
  // Gives the lease back: handed back, for a Cancelled `why` or an error of the device, else as a failed attempt.
  void Fail(const GroupJob& job, const std::string& cause, const absl::Status& why);

  const Parts parts_;
  const Options options_;
  const at::Device device_;  // the model's
  SteadyNotification stopping_;

  BoundedQueue<Job> to_encode_;
  BoundedQueue<Job> to_sample_;
  BoundedQueue<Batch> to_decode_;
  BoundedQueue<Job> to_score_;
  BoundedQueue<Job> to_submit_;
  std::vector<std::thread> threads_;  // all but submit's
  std::thread submit_thread_;
};

}  // namespace flowawr
