# cmake --install, and by CPack a .deb and a .tar.gz. What is installed works from any folder: programs find each other,
# LibTorch's libraries and the embedded models beside them, wherever the tree lies.
#
#   bin/                    the programs
#   lib/flowawr/            what programs open if it is there (cmake/Cuda.cmake)
#   lib/flowawr/torch/lib/  LibTorch's libraries, those alone that computing needs (no Python)
#   lib/flowawr/nvidia/     of a CUDA wheel: the libraries that those of torch/lib look for there
#   share/flowawr/          models/, configs/: `flowawr run configs/tiny-ocr.yaml` finds both
#   share/man, share/bash-completion, share/zsh, share/fish, share/doc/flowawr
include(GNUInstallDirs)
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)  # the target `installed` is enough: no tests, no benchmarks

set(flowawr_programs flowawr flowawr-learner flowawr-actor flowawr-reward-server flowawr-ocr-reader)
set(private_libraries lib/flowawr)
set_target_properties(${flowawr_programs} PROPERTIES INSTALL_RPATH
                      "$ORIGIN/../${private_libraries};$ORIGIN/../${private_libraries}/torch/lib")
install(TARGETS ${flowawr_programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# Of LibTorch whatever is no part of Python or of its own tests.
install(DIRECTORY "${torch_root}/lib/" DESTINATION ${private_libraries}/torch/lib
  FILES_MATCHING PATTERN "*.so*"
  PATTERN "*python*" EXCLUDE PATTERN "*test*" EXCLUDE PATTERN "libbackend_with_compiler*" EXCLUDE
  PATTERN "libaoti_*" EXCLUDE PATTERN "libshm*" EXCLUDE)
if(EXISTS "${torch_root}/../nvidia")
  # Without those that nothing of LibTorch is linked with and that do not load from here: plugins of NVSHMEM and cuFile, for
  # InfiniBand and MPI, and cuSOLVER for several cards.
  install(DIRECTORY "${torch_root}/../nvidia" DESTINATION ${private_libraries} FILES_MATCHING PATTERN "*.so*"
    PATTERN "nvshmem_*" EXCLUDE PATTERN "libcufile_rdma*" EXCLUDE PATTERN "libcusolverMg*" EXCLUDE)
endif()

set(shared ${CMAKE_INSTALL_DATADIR}/flowawr)
install(DIRECTORY models configs DESTINATION ${shared} PATTERN "__pycache__" EXCLUDE)
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs FILES_MATCHING PATTERN "*.md")
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)

# Manual pages and completions are written by the programs themselves, so that they tell what those really take.
set(written ${CMAKE_BINARY_DIR}/installed)
file(MAKE_DIRECTORY ${written})
set(manual_pages "")
set(completions "")
foreach(program flowawr flowawr-learner flowawr-actor flowawr-reward-server)
  set(page ${written}/${program}.1)
  list(APPEND manual_pages ${page})
  add_custom_command(OUTPUT ${page} COMMAND ${program} --man-page > ${page} DEPENDS ${program} VERBATIM)
  foreach(shell bash zsh fish)
    add_custom_command(OUTPUT ${written}/${program}.${shell}
      COMMAND ${program} --completion ${shell} > ${written}/${program}.${shell} DEPENDS ${program} VERBATIM)
    list(APPEND completions ${written}/${program}.${shell})
  endforeach()
  install(FILES ${written}/${program}.bash RENAME ${program} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES ${written}/${program}.zsh RENAME _${program} DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
  install(FILES ${written}/${program}.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endforeach()
install(FILES ${manual_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
# All that an installation needs, for builds of nothing else: cmake --build --target installed, then --install or cpack.
get_property(optional_libraries GLOBAL PROPERTY FLOWAWR_OPTIONAL_LIBRARIES)
add_custom_target(optional_libraries DEPENDS ${optional_libraries})
add_custom_target(installed ALL DEPENDS ${flowawr_programs} optional_libraries ${manual_pages} ${completions})

set(CPACK_PACKAGE_NAME flowawr)
set(CPACK_PACKAGE_VENDOR "FlowAWR")
set(CPACK_PACKAGE_CONTACT "The FlowAWR authors <flowawr@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Fine-tunes flow image models with rewards")
set(CPACK_PACKAGE_DESCRIPTION
  "Actors draw images, reward servers score them, a learner trains a LoRA adapter on what scored well. LibTorch is inside.")
set(CPACK_GENERATOR DEB TGZ)
set(CPACK_STRIP_FILES ON)
set(CPACK_THREADS 0)
set(CPACK_DEBIAN_COMPRESSION_TYPE zstd)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)  # depends on the packages of the libraries that the programs were linked with
set(CPACK_DEBIAN_PACKAGE_DEPENDS "tesseract-ocr-eng, ca-certificates")  # data that no linker knows of
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${torch_root}/lib")
if(EXISTS "${torch_root}/lib/libtorch_cuda.so")
  # The driver's library is no part of any package, and dpkg-shlibdeps ends without one: an empty one for it.
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/driver/empty.cc CONTENT "")
  add_library(flowawr_no_driver SHARED ${CMAKE_BINARY_DIR}/driver/empty.cc)
  set_target_properties(flowawr_no_driver PROPERTIES
    OUTPUT_NAME cuda SOVERSION 1 LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/driver)
  add_dependencies(installed flowawr_no_driver)
  list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_BINARY_DIR}/driver)
endif()
include(CPack)
