# simt_test: the .cu kernels, compiled by the host compiler against the shim in tests/simt and run on the CPU. They are
# instrumented with -fsanitize=thread,bounds,shift,integer-divide-by-zero, whose callbacks the shim defines: the program
# is linked without libtsan and libubsan. So the sanitizer builds, which bring those, leave this program out.
#
# emulated_test: what uses the CUDA libraries, over the stand-in for them in tests/simt/cuda. It wants NVIDIA's headers.
if(SUBSPECT_SANITIZE)
  message(STATUS "Without simt_test: its race detector excludes -fsanitize=${SUBSPECT_SANITIZE}")
  return()
endif()

find_library(BOOST_CONTEXT_LIBRARY boost_context REQUIRED)

file(GLOB cuda_kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/cuda/*.cu)
list(FILTER cuda_kernels EXCLUDE REGEX "sm90")
file(GLOB faulty_kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/simt/*.cu)
set_source_files_properties(${cuda_kernels} ${faulty_kernels} PROPERTIES LANGUAGE CXX)
# Below -O1 not every access is instrumented; packs of elements are read and written through pointers of other types.
set(simt_kernel_flags -x c++ -include ${PROJECT_SOURCE_DIR}/tests/simt/device.h
  -O2 -g1 -fno-strict-aliasing -ffp-contract=off -Wno-unused-function)
add_library(simt_kernels OBJECT ${cuda_kernels})
add_library(simt_faults OBJECT ${faulty_kernels})
foreach(target simt_kernels simt_faults)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${target} PRIVATE subspect_options)
  target_compile_options(${target} PRIVATE ${simt_kernel_flags}
    -fsanitize=thread,bounds,shift,integer-divide-by-zero -fno-sanitize-recover=all)
endforeach()

file(GLOB simt_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/simt/*.cpp)
set(simt_tests ${simt_sources})
list(FILTER simt_tests INCLUDE REGEX "_test\\.cpp$")
list(REMOVE_ITEM simt_sources ${simt_tests})
add_library(simt_shim STATIC ${simt_sources})
target_include_directories(simt_shim PUBLIC ${PROJECT_SOURCE_DIR})
target_link_libraries(simt_shim PRIVATE subspect_options PUBLIC ${BOOST_CONTEXT_LIBRARY} ${CMAKE_DL_LIBS})

add_executable(simt_test ${simt_tests} $<TARGET_OBJECTS:simt_kernels> $<TARGET_OBJECTS:simt_faults>)
target_link_libraries(simt_test PRIVATE subspect_options simt_shim subspect_kernels GTest::gmock GTest::gtest_main)
gtest_discover_tests(simt_test DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 600 LABELS simt)

# The same kernels once more, built for counting (tests/simt/counters.h): calls at every basic block, which stay in the
# order of the source, and accesses as wide as nvcc makes them. The flags are GCC's.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(simt_count_flags -fsanitize=thread -fsanitize-coverage=trace-pc -fno-tree-vectorize -fno-tree-slp-vectorize
    -fno-store-merging -fno-tree-loop-distribute-patterns -fno-tree-sra -fno-ipa-sra -fno-ipa-icf -fno-reorder-blocks
    -fno-reorder-blocks-and-partition -fno-tree-tail-merge -fno-code-hoisting)
  file(GLOB micro_kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/simt/counters/*.cu)
  set_source_files_properties(${micro_kernels} PROPERTIES LANGUAGE CXX)
  add_library(simt_count_kernels OBJECT ${cuda_kernels})
  add_library(simt_count_micro OBJECT ${micro_kernels})
  foreach(target simt_count_kernels simt_count_micro)
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
    target_link_libraries(${target} PRIVATE subspect_options)
    target_compile_definitions(${target} PRIVATE SUBSPECT_SIMT_COUNT)
    target_compile_options(${target} PRIVATE ${simt_kernel_flags} ${simt_count_flags})
  endforeach()
  file(GLOB counter_tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/simt/counters/*_test.cpp)
  add_executable(simt_count_test ${counter_tests}
    $<TARGET_OBJECTS:simt_count_kernels> $<TARGET_OBJECTS:simt_count_micro>)
  target_link_libraries(simt_count_test PRIVATE
    subspect_options simt_shim subspect_kernels GTest::gmock GTest::gtest_main)
  gtest_discover_tests(simt_count_test DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 600 LABELS simt)
else()
  message(STATUS "Without simt_count_test and bench_simt: they want GCC's flags")
endif()

find_path(SUBSPECT_CUDA_HEADERS cuda_runtime_api.h
  HINTS ${CUDAToolkit_INCLUDE_DIRS} $ENV{CUDA_HOME}/include $ENV{CUDA_PATH}/include /usr/local/cuda/include)
if(NOT SUBSPECT_CUDA_HEADERS OR NOT EXISTS ${SUBSPECT_CUDA_HEADERS}/cublasLt.h
   OR NOT EXISTS ${SUBSPECT_CUDA_HEADERS}/cusolverDn.h)
  message(STATUS "Without emulated_test: no headers of CUDA, cuBLAS and cuSOLVER")
  return()
endif()

# The libraries' entry points on host memory. Nothing but tests links it.
file(GLOB stand_in_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/simt/cuda/*.cpp)
if(NOT SUBSPECT_NCCL_INCLUDE)
  list(FILTER stand_in_sources EXCLUDE REGEX "/nccl")
endif()
set(stand_in_tests ${stand_in_sources})
list(FILTER stand_in_tests INCLUDE REGEX "_test\\.cpp$")
list(REMOVE_ITEM stand_in_sources ${stand_in_tests})
add_library(simt_cuda STATIC ${stand_in_sources})
target_include_directories(simt_cuda SYSTEM PUBLIC ${SUBSPECT_CUDA_HEADERS})
if(SUBSPECT_NCCL_INCLUDE)
  target_include_directories(simt_cuda SYSTEM PUBLIC ${SUBSPECT_NCCL_INCLUDE})
endif()
target_link_libraries(simt_cuda
  PRIVATE subspect_options PUBLIC simt_shim PRIVATE PkgConfig::OPENBLAS ${LAPACKE_LIBRARY})

# What of the kernels runs on the host: the calls of cuBLASLt.
file(GLOB cuda_host_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/cuda/*.cpp)
add_library(simt_kernels_host OBJECT ${cuda_host_sources})
target_include_directories(simt_kernels_host PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(simt_kernels_host PRIVATE subspect_options simt_cuda nlohmann_json::nlohmann_json)

# The runtime as a build with CUDA has it, over the stand-in: compiled once where this is such a build.
if(SUBSPECT_WITH_CUDA AND (SUBSPECT_WITH_NCCL OR NOT SUBSPECT_NCCL_INCLUDE))
  add_library(simt_runtime STATIC $<TARGET_OBJECTS:subspect_runtime>)
  set_target_properties(simt_runtime PROPERTIES LINKER_LANGUAGE CXX)
else()
  subspect_runtime_sources(emulated_runtime_sources ON "${SUBSPECT_NCCL_INCLUDE}")
  add_library(simt_runtime STATIC ${emulated_runtime_sources})
endif()
if(SUBSPECT_WITH_MPI)
  target_compile_definitions(simt_runtime PUBLIC SUBSPECT_MPI)
  target_link_libraries(simt_runtime PRIVATE MPI::MPI_CXX)
endif()
target_compile_definitions(simt_runtime PUBLIC SUBSPECT_CUDA)
target_include_directories(simt_runtime PUBLIC ${PROJECT_SOURCE_DIR})
target_link_libraries(simt_runtime
  PUBLIC simt_cuda subspect_kernels fmt::fmt nlohmann_json::nlohmann_json
  PRIVATE subspect_options spdlog::spdlog CURL::libcurl OpenSSL::Crypto PkgConfig::OPENBLAS ${LAPACKE_LIBRARY} ZLIB::ZLIB
          LibLZMA::LibLZMA PkgConfig::ZSTD)

file(GLOB library_tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/simt/libraries/*_test.cpp)
add_executable(emulated_test ${stand_in_tests} ${library_tests}
  $<TARGET_OBJECTS:subspect_model>
  $<TARGET_OBJECTS:simt_kernels> $<TARGET_OBJECTS:simt_faults> $<TARGET_OBJECTS:simt_kernels_host>)
target_link_libraries(emulated_test PRIVATE
  subspect_options simt_runtime simt_cuda subspect_kernels nlohmann_json::nlohmann_json ${LAPACKE_LIBRARY}
  PkgConfig::PCRE2 PkgConfig::UTF8PROC CURL::libcurl OpenSSL::Crypto GTest::gmock GTest::gtest_main)
gtest_discover_tests(emulated_test DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 600 LABELS simt)

# subspect_emulated: the whole program as a build with CUDA has it, over the stand-in. It is for tests, and not installed.
# Objects and not libraries, since those would bring the runtime that has no CUDA.
add_executable(subspect_emulated ${PROJECT_SOURCE_DIR}/kernels/registry.cpp
  $<TARGET_OBJECTS:subspect_cli> $<TARGET_OBJECTS:subspect_experiments> $<TARGET_OBJECTS:subspect_model>
  $<TARGET_OBJECTS:simt_kernels> $<TARGET_OBJECTS:simt_kernels_host>)
target_link_libraries(subspect_emulated PRIVATE
  subspect_options simt_runtime yaml-cpp PkgConfig::PCRE2 PkgConfig::UTF8PROC OpenSSL::Crypto
  SQLite::SQLite3 ${SUBSPECT_ARROW_LIBRARIES})

file(GLOB product_tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/simt/product/*_test.cpp)
add_executable(emulated_program_test ${product_tests} ${PROJECT_SOURCE_DIR}/tests/tools/program.cpp)
target_link_libraries(emulated_program_test PRIVATE
  subspect_options subspect_runtime nlohmann_json::nlohmann_json GTest::gmock GTest::gtest_main)
target_compile_definitions(emulated_program_test PRIVATE
  SUBSPECT_PROGRAM="$<TARGET_FILE:subspect_emulated>" SUBSPECT_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
add_dependencies(emulated_program_test subspect_emulated)
gtest_discover_tests(emulated_program_test DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 600 LABELS simt)
