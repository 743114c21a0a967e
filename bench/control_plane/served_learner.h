// A learner's services in a process of their own, without a model and without training: what actors meet.
#pragma once

namespace flowawr {

// What the parent tells it over standard input, a word a line, and what it answers, a line of JSON each:
//   (at first)  {"endpoint": "127.0.0.1:41234"}
//   publish     publishes an adapter of SD3.5 Medium's size: {"published_at": seconds of the machine's steady clock,
//               "bytes": size}
//   finish      tells the actors that the run has finished, and its own figures: processor seconds, peak memory, bytes
//               sent and received by call, copies of adapters
// It ends with its standard input.
//
// `leases`: it keeps more leases on offer than actors take, trains on nothing, and publishes a small adapter with every
// tenth batch.
int ServeLearner(bool leases);

}  // namespace flowawr
