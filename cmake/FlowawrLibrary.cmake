# flowawr_library(name SRCS a.cc ... DEPS ... [TORCH] [SHARED])
#                                                        a static library; headers are included from the repository root
# flowawr_binary(name SRCS ... DEPS ... [TORCH])         an executable, put in <build>/bin
# flowawr_test(name SRCS ... DEPS ... [TORCH] [LABELS])  a GoogleTest executable and its ctest entry
# TORCH: the sources use LibTorch; they get the shared precompiled header of torch/types.h.
if(NOT FLOWAWR_KERNELS_ONLY)
  add_library(flowawr_torch_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cc)
  target_link_libraries(flowawr_torch_pch PUBLIC libtorch)
  target_precompile_headers(flowawr_torch_pch PRIVATE <torch/types.h>)
endif()

function(_flowawr_common name scope)
  target_include_directories(${name} ${scope} ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/proto)
  target_link_libraries(${name} PRIVATE flowawr_warnings)
  if(ARG_TORCH)
    target_link_libraries(${name} ${scope} libtorch)
    target_precompile_headers(${name} REUSE_FROM flowawr_torch_pch)
    # Executables would get -fPIE, which does not fit the precompiled header's -fPIC.
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${name} PRIVATE -fPIC)
  endif()
  target_link_libraries(${name} ${scope} ${ARG_DEPS})
endfunction()

function(flowawr_library name)
  cmake_parse_arguments(ARG "TORCH;SHARED" "" "SRCS;DEPS" ${ARGN})
  if(ARG_SHARED)
    add_library(${name} SHARED ${ARG_SRCS})
  else()
    add_library(${name} STATIC ${ARG_SRCS})
  endif()
  _flowawr_common(${name} PUBLIC)
endfunction()

function(flowawr_binary name)
  cmake_parse_arguments(ARG "TORCH" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS} ${FLOWAWR_SANITIZER_SRCS})
  _flowawr_common(${name} PRIVATE)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()

function(flowawr_test name)
  cmake_parse_arguments(ARG "TORCH" "TIMEOUT" "SRCS;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SRCS} ${FLOWAWR_SANITIZER_SRCS})
  _flowawr_common(${name} PRIVATE)
  target_link_libraries(${name} PRIVATE GTest::gtest GTest::gmock GTest::gtest_main)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
    # Threads of tests that run side by side do not spin while they wait for one another.
    ENVIRONMENT
      "FLOWAWR_BUILD_DIR=${CMAKE_BINARY_DIR};FLOWAWR_SOURCE_DIR=${CMAKE_SOURCE_DIR};OMP_WAIT_POLICY=PASSIVE")
endfunction()
