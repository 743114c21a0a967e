# FLOWAWR_CUDA: what needs nvcc or the CUDA headers of LibTorch, as libraries of their own. No program links to them: they
# are opened at run time (dlopen) where they are found, so that a program is the same with and without.
#
# flowawr_optional_library(target)   puts a shared library where the programs look for it, built and installed
define_property(GLOBAL PROPERTY FLOWAWR_OPTIONAL_LIBRARIES BRIEF_DOCS "What flowawr_optional_library() was called for")
set(flowawr_optional_folder ${CMAKE_BINARY_DIR}/lib)

function(flowawr_optional_library name)
  set_target_properties(${name} PROPERTIES
    LIBRARY_OUTPUT_DIRECTORY ${flowawr_optional_folder} INSTALL_RPATH "$ORIGIN/torch/lib")
  install(TARGETS ${name} LIBRARY DESTINATION lib/flowawr)
  set_property(GLOBAL APPEND PROPERTY FLOWAWR_OPTIONAL_LIBRARIES ${name})
endfunction()

if(NOT FLOWAWR_CUDA)
  return()
endif()
list(APPEND CMAKE_BUILD_RPATH ${flowawr_optional_folder})

# One binary a family of cards: A100, L4 and RTX 40, H100 and H200, B200, RTX 50; and PTX of the last for what comes after.
# A driver translates no PTX of a newer kind for an older card: what is missing here computes by LibTorch's operations.
find_program(NVCC nvcc HINTS "$ENV{CUDA_HOME}/bin" /usr/local/cuda/bin)
if(NOT NVCC)
  message(FATAL_ERROR "FLOWAWR_CUDA needs nvcc, which is not there (looked in PATH, $CUDA_HOME/bin and /usr/local/cuda/bin): install "
                      "NVIDIA's CUDA toolkit (tried with 13.0), or build with FLOWAWR_CUDA=OFF, which leaves out what makes GPUs faster only")
endif()
execute_process(COMMAND ${NVCC} --list-gpu-arch OUTPUT_VARIABLE known)
set(architectures "")
foreach(architecture 80 89 90a 100 120)
  string(REGEX MATCH "^[0-9]+" number ${architecture})
  if(known MATCHES "compute_${number}\n")
    list(APPEND architectures ${architecture})
  endif()
endforeach()
set(FLOWAWR_CUDA_ARCHITECTURES "${architectures}" CACHE STRING "Architectures that the CUDA kernels are compiled for")
set(CMAKE_CUDA_ARCHITECTURES OFF)  # the options of nvcc say it: this CMake does not know all of them
list(TRANSFORM FLOWAWR_CUDA_ARCHITECTURES REPLACE "(.+)" "-gencode=arch=compute_\\1,code=sm_\\1" OUTPUT_VARIABLE flowawr_gencode)
list(GET FLOWAWR_CUDA_ARCHITECTURES -1 newest)
list(APPEND flowawr_gencode "-gencode=arch=compute_${newest},code=compute_${newest}")

set(CMAKE_CUDA_COMPILER ${NVCC})
set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
set(CMAKE_CUDA_STANDARD 20)
enable_language(CUDA)
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake knows it from 3.26 on
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
