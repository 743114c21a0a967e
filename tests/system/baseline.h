// What an undisturbed run of the small configuration exports. Run once a test program.
#pragma once

#include <string>

namespace flowawr {

const std::string& BaselineAdapter();

}  // namespace flowawr
