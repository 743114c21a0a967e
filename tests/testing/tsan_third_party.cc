// What ThreadSanitizer is told about code that is not ours, in every executable of the tsan preset. gRPC, Protobuf,
// Abseil and LibTorch come from packages that are not built for it: it sees what they read and write through the
// functions that it intercepts, but not what orders it.
//
// There are no suppressions: if one is needed, it belongs here, and may name nothing of ours. TSAN_OPTIONS in the
// environment adds to these options, and wins.

extern "C" {

const char* __tsan_default_options();

// Do not look at memory that such code passes to memcpy(), delete and the like.
__attribute__((visibility("default"))) const char* __tsan_default_options() {
  return "ignore_noninstrumented_modules=1";
}

}  // extern "C"
