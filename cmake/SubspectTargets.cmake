# How every library, program and test of the project is declared: one function each, the same warnings everywhere.

find_program(SUBSPECT_CCACHE ccache)
if(SUBSPECT_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${SUBSPECT_CCACHE})
endif()

add_library(subspect_options INTERFACE)
target_compile_features(subspect_options INTERFACE cxx_std_20)
set(subspect_warnings -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual)
if(SUBSPECT_WERROR)
  list(APPEND subspect_warnings -Werror)
endif()
target_compile_options(subspect_options INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${subspect_warnings}>")
if(SUBSPECT_SANITIZE)
  target_compile_options(subspect_options INTERFACE
    -fsanitize=${SUBSPECT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(subspect_options INTERFACE -fsanitize=${SUBSPECT_SANITIZE})
endif()

# The fuzz targets follow the coverage of the libraries, which Clang alone records.
if(SUBSPECT_SANITIZE MATCHES "address" AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  set(SUBSPECT_FUZZ ON)
  target_compile_options(subspect_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# subspect_library(NAME [SOURCES...]): the library of one folder. Headers are included from the project root.
function(subspect_library name)
  add_library(${name} STATIC ${ARGN})
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                                            $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/subspect>)
  target_link_libraries(${name} PRIVATE $<BUILD_INTERFACE:subspect_options>)
endfunction()

# subspect_test(NAME LIBRARY SOURCES...): one GoogleTest program; every case of it is a ctest case.
function(subspect_test name library)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE subspect_options ${library} ${RAPIDCHECK_LIBRARY} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE SUBSPECT_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(SUBSPECT_SANITIZE)
    target_compile_options(${name} PRIVATE -O0) # matchers under sanitizers take twice as long to optimise
  endif()
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 600)
endfunction()

# subspect_runtime_sources(VARIABLE CUDA NCCL): the sources of runtime/ for a build with, or without, CUDA and NCCL.
function(subspect_runtime_sources variable cuda nccl)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/runtime/*.cpp)
  if(NOT cuda)
    list(FILTER sources EXCLUDE REGEX "/cuda/")
  endif()
  if(nccl)
    list(FILTER sources EXCLUDE REGEX "/comm/cuda/without_nccl")
  else()
    list(FILTER sources EXCLUDE REGEX "/comm/cuda/nccl")
  endif()
  if(NOT SUBSPECT_WITH_MPI)
    list(FILTER sources EXCLUDE REGEX "/comm/mpi/")
  endif()
  set(${variable} ${sources} PARENT_SCOPE)
endfunction()
