# Language level, warnings, compiler cache, linker and sanitizers.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2")

find_program(CCACHE ccache)
if(CCACHE)
  # The two environment settings let ccache serve files that use the precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} ${CCACHE})
endif()

find_program(MOLD mold)
if(MOLD AND NOT CMAKE_CROSSCOMPILING)  # a cross compiler does not find it
  # Before 2.4, one binary in some hundreds does not start ("cannot apply additional memory protection": its read-only
  # segment begins a page too early, mold issue 1151), and without that segment (-z norelro) some links never end.
  execute_process(COMMAND ${MOLD} --version OUTPUT_VARIABLE mold_version)
  if(mold_version MATCHES "mold ([0-9.]+)" AND CMAKE_MATCH_1 VERSION_GREATER_EQUAL 2.4)
    add_link_options(-fuse-ld=mold)
  endif()
endif()

if(FLOWAWR_SANITIZE)
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1 -DNDEBUG")  # enough for their reports, and compiles in half the time
  # Instrumented code looks uninitialised to GCC where it is not (std::regex, for one: GCC bug 105562).
  add_compile_options(-fsanitize=${FLOWAWR_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all
                      -Wno-error=maybe-uninitialized)
  add_link_options(-fsanitize=${FLOWAWR_SANITIZE})
  if(FLOWAWR_SANITIZE MATCHES "thread")
    set(FLOWAWR_SANITIZER_SRCS  # in every executable
      ${CMAKE_SOURCE_DIR}/tests/testing/tsan_abseil.cc ${CMAKE_SOURCE_DIR}/tests/testing/tsan_third_party.cc)
  endif()
endif()

if(FLOWAWR_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
endif()

# Our own code only: generated and third-party code is not held to it. Other compilers warn of other things, which must
# keep nobody from building.
set(is_our_compiler OFF)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  set(is_our_compiler ON)
endif()
option(FLOWAWR_WERROR "Warnings are errors" ${is_our_compiler})
add_library(flowawr_warnings INTERFACE)
target_compile_options(flowawr_warnings INTERFACE
                       -Wall -Wextra $<$<BOOL:${FLOWAWR_WERROR}>:-Werror> -Wno-sign-compare -Wno-missing-field-initializers)
