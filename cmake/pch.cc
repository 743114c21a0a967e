// Exists so that the precompiled header of torch/types.h has a target to belong to.
