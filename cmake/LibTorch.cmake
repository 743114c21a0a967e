# Defines the target `libtorch` from FLOWAWR_TORCH_DIR (default: the wheel that scripts/setup puts in .venv).
#
# TorchConfig.cmake is not used: on a CUDA wheel it demands the CUDA toolkit. And only the folders that are LibTorch's
# own are exposed: the wheel also carries an old protobuf's headers, which would shadow the system's.
if(NOT FLOWAWR_TORCH_DIR)
  file(GLOB torch_wheels "${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch")
  list(APPEND torch_wheels "")
  list(GET torch_wheels 0 torch_root)
else()
  set(torch_root "${FLOWAWR_TORCH_DIR}")
endif()
if(NOT EXISTS "${torch_root}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "LibTorch not found (looked for lib/libtorch_cpu.so in '${torch_root}'). "
                      "Run scripts/setup, or pass -DFLOWAWR_TORCH_DIR=<unpacked LibTorch or a wheel's torch folder>.")
endif()

set(torch_headers "${CMAKE_BINARY_DIR}/libtorch_headers")
file(MAKE_DIRECTORY "${torch_headers}")
foreach(folder ATen c10 torch caffe2)
  file(CREATE_LINK "${torch_root}/include/${folder}" "${torch_headers}/${folder}" SYMBOLIC)
endforeach()

add_library(libtorch INTERFACE)
target_include_directories(libtorch SYSTEM INTERFACE
  "${torch_headers}" "${torch_headers}/torch/csrc/api/include")
target_link_directories(libtorch INTERFACE "${torch_root}/lib")
target_link_options(libtorch INTERFACE "-Wl,--no-as-needed")
set(CMAKE_BUILD_RPATH "${torch_root}/lib")  # of what is run where it was built; installed programs: cmake/Install.cmake
target_link_libraries(libtorch INTERFACE torch torch_cpu c10)
# Protobuf's targets bring -pthread; a precompiled header only serves files with the same flags.
target_compile_options(libtorch INTERFACE -pthread)
if(FLOWAWR_SANITIZE MATCHES "thread")
  target_compile_options(libtorch INTERFACE -Wno-tsan)  # the headers have fences, which ThreadSanitizer does not know
endif()
foreach(cuda_library torch_cuda c10_cuda)
  if(EXISTS "${torch_root}/lib/lib${cuda_library}.so")
    target_link_libraries(libtorch INTERFACE ${cuda_library})
  endif()
endforeach()

# For code with OpenMP of its own: it must share the threads of the runtime that LibTorch brings, GNU's, whose file's name
# often has a hash in it. Empty with another compiler, which would bring a second runtime.
add_library(libtorch_gomp INTERFACE)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  file(GLOB torch_gomp "${torch_root}/lib/libgomp*.so.1")
  if(NOT torch_gomp)
    set(torch_gomp gomp)
  endif()
  target_link_libraries(libtorch_gomp INTERFACE ${torch_gomp})
endif()
message(STATUS "LibTorch: ${torch_root}")
