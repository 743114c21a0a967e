#include "common/base/version.h"

namespace flowawr {

const char* Version() { return FLOWAWR_VERSION; }

}  // namespace flowawr
