// What ThreadSanitizer is told about code that is not ours, in every executable of the tsan preset. gRPC, Protobuf,
// Abseil and LibTorch come from packages that are not built for it: it sees what they read and write through the
// functions that it intercepts, but not what orders it.
//
// Nothing of ours may be named here. TSAN_OPTIONS in the environment adds to these options, and wins.

extern "C" {

const char* __tsan_default_options();
const char* __tsan_default_suppressions();

// Do not look at memory that such code passes to memcpy(), delete and the like.
__attribute__((visibility("default"))) const char* __tsan_default_options() {
  return "ignore_noninstrumented_modules=1";
}

__attribute__((visibility("default"))) const char* __tsan_default_suppressions() {
  return
      // gRPC's core takes its locks of pollers, file descriptors and channels in several orders, where only one thread
      // can. A call of ours into it has it on the stack, our handlers have not: those are called by libgrpc++.
      "deadlock:libgrpc.so\n";
}

}  // extern "C"
