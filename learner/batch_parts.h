// How the samples of a batch are parted among several optimiser steps. Pure.
#pragma once

#include <cstdint>
#include <vector>

namespace flowawr {

// By group, the positions of samples in it, ascending; groups may have none.
using SamplesByGroup = std::vector<std::vector<int64_t>>;

// `parts` of them that hold every sample of the batch once: the samples in an order drawn from (seed, update), cut into
// parts whose sizes differ by at most one, as DiffusionNFT's authors do. Groups are thereby mixed. `samples` by group; one
// part: all samples in their order. `parts` is at least 1 and at most the number of samples.
std::vector<SamplesByGroup> PartSamples(uint64_t seed, uint64_t update, const std::vector<int64_t>& samples,
                                        int64_t parts);

}  // namespace flowawr
