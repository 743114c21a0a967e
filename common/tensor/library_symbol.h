// Functions of a library that is opened at run time.
#pragma once

#include <dlfcn.h>

namespace flowawr {

// Whether the library, opened by dlopen(), has a function of that name, which `*function` then is; else null.
template <typename Function>
bool FindSymbol(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function != nullptr;
}

}  // namespace flowawr
