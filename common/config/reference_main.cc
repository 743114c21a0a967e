#include <iostream>

#include "common/config/run_config.h"

int main() {
  std::cout << flowawr::RunConfigReference();
  return std::cout.flush() ? 0 : 74;
}
