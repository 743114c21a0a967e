#include "tests/system/baseline.h"

#include <gtest/gtest.h>

#include "tests/system/cluster.h"

namespace flowawr {

const std::string& BaselineAdapter() {
  static const std::string adapter = [] {
    Cluster cluster;
    cluster.StartAll();
    cluster.ExpectToFinish();
    EXPECT_FALSE(cluster.ExportedAdapter().empty());
    return cluster.ExportedAdapter();
  }();
  return adapter;
}

}  // namespace flowawr
